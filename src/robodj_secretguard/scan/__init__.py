"""Finding keys where they must not be (policy sections 2 and 5): exactly the known ones, and none is shown."""
