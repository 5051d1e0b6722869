"""`rotate put` and `rotate restore`: values that come from outside a rotation."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pytest
from command_line import fingerprint_of
from conftest import NOW, V1, V2, good_keys, marker
from rotations import AGAIN, DAY, EXPIRES, HOUR, NEXT, POLICY, PREVIOUS, SINGLE, UNTIL, Desk, Fields

from robodj_secretguard import Material, RuntimeSecrets, Secret, SecretPolicy, SecretSettings
from robodj_secretguard.errors import ManagerError
from robodj_secretguard.lifecycle.replacements import can_restore
from robodj_secretguard.lifecycle.rotator import StepResult
from robodj_secretguard.managers.manager import Stored
from robodj_secretguard.startup.inputs import REVOKED_FINGERPRINTS, ROTATION_RECORD, iso_utc

LEGACY_KEY = good_keys()[V1][:30]


class ShopSecrets(SecretSettings):
    """A key, and a user with its password, which change together."""

    key: Annotated[Secret, SecretPolicy(name="key", variable="SHOP_KEY", overlap=timedelta(days=7))]
    user: Annotated[Secret, SecretPolicy(material=Material.opaque(4), group="db", overlap=timedelta(days=2))]
    password: Annotated[Secret, SecretPolicy(material=Material.opaque(), group="db", issuer="the database")]


SHOP = ShopSecrets.secret_policies
GROUP = (SHOP["user"], SHOP["password"])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An operator with a store that has good keys, and no record."""
    return Desk(tmp_path / "log")


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """An operator of a new service, whose store does not exist yet."""
    desk.model = ShopSecrets
    desk.store.fields = {}
    return desk


def refusal(result: StepResult) -> tuple[str, str]:
    """Return why a step was refused, and the remedy."""
    assert result.outcome == "refused"
    assert result.refusal is not None
    return result.refusal.message, result.refusal.remedy


def key_fields(fields: Fields) -> Fields:
    """Return the fields without the record."""
    return {name: text for name, text in fields.items() if name != ROTATION_RECORD}


class TestPut:
    """A new value in the place of the current one."""

    def test_the_first_keys_of_a_service_come_one_after_another(self, shop: Desk) -> None:
        """The secrets that are still missing forbid nothing. A group is one write, with a record for each secret."""
        assert shop.put(SHOP["key"]).outcome == "done"
        values = {"USER": "shop", "PASSWORD": good_keys()[V1]}
        result = shop.put(*GROUP, values=values)
        assert (result.outcome, shop.store.writes) == ("done", 2)
        assert key_fields(shop.store.fields).items() >= values.items()
        assert [each.secret for each in shop.log.records] == ["key", "user", "password"]

    def test_the_old_value_of_an_overlap_stays(self, shop: Desk) -> None:
        """A password with an overlap keeps the old one as the previous one, until a deadline. One without has none."""
        shop.put(SHOP["key"])
        shop.put(*GROUP, values={"USER": "shop_1", "PASSWORD": good_keys()[V1]})
        shop.put(*GROUP, values={"USER": "shop_2", "PASSWORD": good_keys()[V1]}, now=NOW + HOUR)
        fields = shop.store.fields
        assert (fields["USER"], fields["USER_PREVIOUS"]) == ("shop_2", "shop_1")
        assert fields["USER_PREVIOUS_UNTIL"] == iso_utc(NOW + HOUR + timedelta(days=2))
        assert "PASSWORD_PREVIOUS" not in fields

    def test_a_value_that_its_kind_refuses_is_not_stored(self, shop: Desk) -> None:
        """The alert says what is wrong. So it does for a value that is there already."""
        shop.put(SHOP["key"])
        result = shop.put(*GROUP, values={"USER": "shop", "PASSWORD": "changeme"})
        assert refusal(result)[1] == "pass a value without that fault; nothing was written"
        assert [(each.secret, str(each.check)) for each in result.findings] == [("password", "placeholder")]
        values = {"USER": "shop", "PASSWORD": good_keys()[V1]}
        shop.put(*GROUP, values=values)
        assert refusal(shop.put(*GROUP, values=values))[0] == "USER has this value already"
        assert shop.store.writes == 2

    def test_a_part_of_a_group_may_stay(self, shop: Desk) -> None:
        """A new password of the same user is a new value of the group."""
        shop.put(SHOP["key"])
        shop.put(*GROUP, values={"USER": "shop", "PASSWORD": good_keys()[V1]})
        assert shop.put(*GROUP, values={"USER": "shop", "PASSWORD": good_keys()[V1]}).outcome == "done"

    @pytest.mark.parametrize("forgets", [True, False])
    def test_a_leaked_value_leaves_the_versions(self, shop: Desk, *, forgets: bool) -> None:
        """In an emergency, no version keeps the old value. What is still in use stays."""
        shop.put(SHOP["key"])
        leaked = good_keys()[V1]
        shop.put(*GROUP, values={"USER": "shop", "PASSWORD": leaked})
        shop.put(*GROUP, values={"USER": "shop", "PASSWORD": good_keys()[V1]}, forgets=forgets)
        assert (shop.store.keeps(leaked), shop.store.keeps("shop")) == (not forgets, True)

    def test_a_cut_key_does_not_stay(self, desk: Desk) -> None:
        """After a recorded step, a value without a fingerprint is no key from before the adoption."""
        desk.take("stage")
        desk.store.fields = {**desk.store.fields, V1: desk.store.fields[V1][:30]}
        assert desk.put(POLICY).outcome == "done"
        assert PREVIOUS not in desk.store.fields

    def test_a_good_key_with_an_overlap_is_staged_instead(self, desk: Desk) -> None:
        """A new key in its place would refuse what the good key has signed."""
        message, remedy = refusal(desk.put(POLICY))
        assert message == "secret.key has a good key, and an overlap in which it still verifies"
        assert remedy == "run robodj-secretguard rotate stage secret.key --to memory:robodj"

    def test_a_key_without_an_overlap_is_replaced(self, desk: Desk) -> None:
        """Each call makes another key, and writes once."""
        old = desk.store.fields[V1]
        assert [desk.put(SINGLE).outcome, desk.put(SINGLE).outcome] == ["done", "done"]
        assert desk.store.writes == 2
        assert desk.store.fields[V1] != old
        assert PREVIOUS not in desk.store.fields

    @pytest.mark.parametrize(
        ("old", "is_kept"), [(LEGACY_KEY, True), ("changeme", False), ("", False)], ids=["legacy", "template", "none"]
    )
    def test_what_signed_before_the_adoption_stays(self, desk: Desk, old: str, *, is_kept: bool) -> None:
        """A value that the kind refuses, and that may have signed, becomes the previous one. A template does not."""
        desk.store.fields |= {V1: old}
        assert desk.put(POLICY).outcome == "done"
        assert (desk.store.fields.get(PREVIOUS) == old) is is_kept
        assert (UNTIL in desk.store.fields) is is_kept
        assert REVOKED_FINGERPRINTS not in desk.store.fields

    def test_an_expired_key_becomes_the_previous_one(self, desk: Desk) -> None:
        """No service starts on an expired key. What it has signed verifies until the deadline."""
        old = desk.store.fields[V1]
        desk.store.fields |= {EXPIRES: marker(-DAY)}
        assert desk.put(POLICY).outcome == "done"
        assert desk.store.fields[PREVIOUS] == old
        assert desk.store.fields[EXPIRES] == marker(POLICY.cadence)

    def test_a_value_that_was_the_next_one_is_that_no_longer(self, shop: Desk) -> None:
        """Connections with the old value would stay, as long as it is in a slot."""
        policy = SHOP["password"]._replace(group="", overlap=DAY)
        value = good_keys()[V1]
        shop.store.fields |= {"PASSWORD_NEXT": value}
        assert shop.put(policy, values={"PASSWORD": value}).outcome == "done"
        assert "PASSWORD_NEXT" not in shop.store.fields

    def test_a_policy_without_a_marker_gets_none(self, desk: Desk) -> None:
        """Only `expires=True` writes a marker. The old one ends with its value."""
        desk.store.fields |= {EXPIRES: marker(DAY)}
        desk.put(SINGLE._replace(expires=False))
        assert EXPIRES not in desk.store.fields

    def test_nothing_is_written_while_a_record_is_missing(self, desk: Desk) -> None:
        """An earlier step that the log cannot get comes first."""
        old = desk.store.fields[V1]
        desk.take("stage", NOW + DAY, recorded=False)
        assert (desk.put(SINGLE).outcome, desk.store.writes) == ("refused", 1)
        desk.store.fields = {**desk.store.fields, V1: ""}
        assert (desk.restore(old).outcome, desk.store.writes) == ("refused", 1)

    def test_a_dry_run_writes_nothing(self, desk: Desk) -> None:
        """It names the fields that would change."""
        result = desk.put(SINGLE, dry_run=True)
        assert (result.outcome, result.fields, desk.store.writes) == ("would-be-done", [V1, EXPIRES], 0)

    def test_the_key_of_another_secret_does_not_stay(self, desk: Desk) -> None:
        """It is no previous key, and it is not revoked: the other secret still uses it."""
        desk.store.fields |= {V1: desk.store.fields[V2]}
        assert desk.put(POLICY).outcome == "done"
        assert not {PREVIOUS, UNTIL, REVOKED_FINGERPRINTS} & {*desk.store.fields}


class TestRestore:
    """A key in its place again, from an earlier version."""

    def test_the_recorded_key_comes_back_with_its_slots(self, desk: Desk) -> None:
        """After a rollback by hand, the key, its marker and the previous key are as they were. Other fields stay."""
        first = dict(desk.store.fields)
        desk.take("stage")
        desk.take("promote", is_now=True)
        right = dict(desk.store.fields)
        desk.store.fields = {**first, "OTHER": "newer"}
        desk.store.writes += 1
        result = desk.restore(right[V1], NOW + HOUR)
        assert (result.outcome, desk.log.records[-1].event) == ("done", "restored")
        wanted = {name: right[name] for name in (V1, EXPIRES, PREVIOUS, UNTIL)}
        assert desk.store.fields.items() >= {**wanted, "OTHER": "newer"}.items()
        assert desk.restore(right[V1], NOW + HOUR).outcome == "nothing-to-do"

    def test_a_next_and_a_previous_key_come_back_too(self, desk: Desk) -> None:
        """A key has the place that the records give it."""
        for number, step in enumerate(AGAIN):
            desk.take(step, NOW + number * HOUR, is_now=True)
        fields = desk.store.fields = dict(desk.store.fields)
        following, previous, until = fields.pop(NEXT), fields.pop(PREVIOUS), fields.pop(UNTIL)
        desk.store.writes += 1
        assert desk.restore(previous, NOW + 3 * HOUR).outcome == "done"
        assert desk.restore(following, NOW + 4 * HOUR).outcome == "done"
        fields = desk.store.fields
        assert (fields[NEXT], fields[PREVIOUS], fields[UNTIL]) == (following, previous, until)

    def test_a_promoted_key_is_not_the_next_one_as_well(self, desk: Desk) -> None:
        """Where the key stands in the slot of the next key, it leaves it."""
        desk.take("stage")
        key = desk.store.fields[NEXT]
        desk.note(key, NOW + HOUR)
        assert desk.restore(key, NOW + HOUR).outcome == "done"
        assert (desk.store.fields[V1], NEXT in desk.store.fields) == (key, False)

    def test_without_a_record_a_missing_key_comes_back(self, desk: Desk) -> None:
        """A key takes a place that is empty."""
        old = desk.store.fields[V1]
        desk.store.current()
        desk.store.writes += 1
        desk.store.fields = {**desk.store.fields, V1: ""}
        assert desk.restore(old).outcome == "done"

    def test_a_good_key_without_a_record_stays(self, desk: Desk) -> None:
        """Nothing says that the other key is the right one."""
        assert refusal(desk.restore(good_keys()[V1]))[1] == "leave the good key there"

    @pytest.mark.parametrize("where", ["the manager", "the log", "this machine"])
    def test_a_revoked_key_is_not_restored(self, desk: Desk, where: str) -> None:
        """Not even where the record names it. The next line is the plan."""
        desk.note(desk.store.fields[V1], NOW - DAY)
        desk.revoke(V1, where)
        message, remedy = refusal(desk.restore(desk.store.fields[V1]))
        assert message.endswith(" is revoked")
        assert remedy == "to make a new key, run robodj-secretguard rotate plan secret.key --from memory:robodj"

    def test_a_revoked_key_does_not_replace_a_good_one(self, desk: Desk) -> None:
        """Where a good key is in its place, nothing is to do."""
        desk.note(good := good_keys()[V1], event="revoked")
        assert refusal(desk.restore(good))[1] == "leave the good key there"

    def test_a_version_that_cannot_be_read_does_not_hide_another(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The search goes on. Only where no other version has the key, the error is the result."""
        desk.take("stage")
        desk.take("promote", is_now=True)
        key = desk.store.fields[V1]
        desk.store.fields = {**desk.store.fields, V1: ""}
        desk.store.writes += 1
        newest = str(desk.store.writes)
        desk.store.current()
        read = desk.store.version

        def version(name: str) -> Stored:
            if name == newest or key not in desk.store.kept[name].values():
                raise ManagerError("has no such version any more", "run this command again")
            return read(name)

        monkeypatch.setattr(desk.store, "version", version)
        assert desk.restore(key, NOW + HOUR, dry_run=True).outcome == "would-be-done"
        monkeypatch.setattr(desk.store, "version", lambda *_: version(newest))
        assert [str(each.check) for each in desk.restore(key, NOW + HOUR).findings] == ["source"]

    def test_a_key_whose_time_is_over_is_not_restored(self, desk: Desk) -> None:
        """Neither a previous key after its deadline, nor an older key: the right one is named."""
        old = desk.store.fields[V1]
        desk.take("stage")
        desk.take("promote", is_now=True)
        right = (
            f"run robodj-secretguard rotate restore secret.key --fingerprint {fingerprint_of(desk.store.fields[V1])}"
        )
        message, remedy = refusal(desk.restore(old, NOW + 15 * DAY))
        assert (message.startswith("the time of the key"), remedy.startswith(right)) == (True, True)
        message, remedy = refusal(desk.restore(good_keys()[V1]))
        assert message == "the operations log has another key as the last one of secret.key"
        assert remedy.startswith(right)

    def test_an_unknown_key_is_not_found(self, desk: Desk) -> None:
        """Where no version has the key, the next line is the plan."""
        desk.note(key := good_keys()[V1])
        message, remedy = refusal(desk.restore(key))
        assert message == f"no version of memory:robodj has the key {fingerprint_of(key)}"
        assert remedy == "run robodj-secretguard rotate plan secret.key --from memory:robodj"

    def test_an_expired_key_is_not_restored(self, desk: Desk) -> None:
        """The set that results must pass a start."""
        old = desk.store.fields[V1]
        desk.note(old, expires_at=NOW + HOUR)
        desk.store.current()
        desk.store.writes += 1
        desk.store.fields = {**desk.store.fields, V1: "", EXPIRES: ""}
        result = desk.restore(old, NOW + DAY)
        assert refusal(result)[1] == "run robodj-secretguard rotate plan secret.key --from memory:robodj"
        assert [str(each.check) for each in result.findings] == ["expired"]


def test_a_key_can_be_restored_only_from_a_store(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is no store, and one that does not answer, have no earlier version."""
    policies = tuple(RuntimeSecrets.secret_policies.values())
    key = fingerprint_of(desk.store.fields[V1])
    assert not can_restore(policies, "json:-", POLICY, key)
    monkeypatch.setattr("robodj_secretguard.lifecycle.replacements.open_store", lambda *_: desk.store)
    assert not can_restore(policies, "memory:robodj", POLICY, key)
    desk.store.current()
    assert can_restore(policies, "memory:robodj", POLICY, key)

    def fail(seconds: float) -> tuple[str, ...]:
        del seconds
        raise ManagerError("was not read", "log in")

    monkeypatch.setattr(desk.store, "versions", fail)
    assert not can_restore(policies, "memory:robodj", POLICY, key)
    assert V2 in desk.store.fields
