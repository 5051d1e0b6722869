"""The guard."""

from robodj_secretguard import guard

guard()
