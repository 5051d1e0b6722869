"""The rules of policy section 6: what was read, in; findings, out. Nothing here reads, shows a value or raises."""

from robodj_secretguard.rules.expiry import expiry
from robodj_secretguard.rules.judgement import Judged, Judgement, state_of
from robodj_secretguard.rules.setup import internal

__all__ = ["Judged", "Judgement", "expiry", "internal", "state_of"]
