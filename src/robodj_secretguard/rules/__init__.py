"""The rules of policy section 6: what was read, in; findings, out. Nothing here reads, shows a value or raises."""

from robodj_secretguard.rules.expiry import expiry
from robodj_secretguard.rules.judgement import is_sound, judge, judge_together, state
from robodj_secretguard.rules.setup import internal

__all__ = ["expiry", "internal", "is_sound", "judge", "judge_together", "state"]
