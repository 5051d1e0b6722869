"""The kind of private keys in PEM."""

from __future__ import annotations

import base64
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from values import (
    CURVE_PARAMETERS,
    ENCRYPTED_BY_HEADER,
    PRIVATE_KEYS,
    WRITTEN,
    age_key,
    block,
    certificate,
    cuts,
    judge,
    loaded,
    output_of,
    pem,
)

from robodj_secretguard import Fault, Kind, Material
from robodj_secretguard.secret.pem import Pem, pgp_checksum

KIND = Material.pem()
KEY = pem("RSA PRIVATE KEY", 90)
BEGIN, END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
LABEL = "does not have the label ... PRIVATE KEY"
NO_END = "has no END line with the label of its BEGIN line"
NO_BODY = "has a body that is not base64 of 32 bytes or more"
CUT = ("format", "has a body of which a part is missing")
BLANKS = ("format", "has blanks or backslashes in place of newlines")
BESIDE = ("format", "has text beside its blocks")
OTHER_BLOCK = ("format", "has a block that is no key, certificate or parameters")
DATA = random.Random(8).randbytes(8400)  # noqa: S311


def of_openssl() -> str:
    """Make an EC key, which OpenSSL writes below its parameters."""
    return output_of("openssl", "ecparam", "-name", "prime256v1", "-genkey")


def of_ssh_keygen(folder: Path) -> str:
    """Make an encrypted key of OpenSSH."""
    output_of("ssh-keygen", "-q", "-t", "ed25519", "-N", "kif leela 83", "-f", str(folder / "key"))
    return (folder / "key").read_text(encoding="utf-8")


def of_gpg(_folder: Path) -> str:
    """Make a key of GnuPG. The path of its socket must be short, which a folder of a test is not everywhere."""
    with tempfile.TemporaryDirectory(prefix="g", dir="/tmp", ignore_cleanup_errors=True) as home:
        gpg = ("gpg", "--homedir", home, "--batch")
        output_of(
            *gpg, "--gen-key", given="%no-protection\nKey-Type: eddsa\nKey-Curve: ed25519\nName-Real: Kif\n%commit\n"
        )
        written = output_of(*gpg, "--armor", "--export-secret-keys")
        output_of("gpgconf", "--homedir", home, "--kill", "all")
    return written


def of_pgp(data: bytes, end: str | None = None) -> str:
    """Return packets of OpenPGP as a private key, with their checksum or with another end."""
    end = f"={pgp_checksum(data)}\n" if end is None else end
    body = base64.encodebytes(data).decode()
    name = "PGP PRIVATE KEY BLOCK"
    return f"-----BEGIN {name}-----\nComment: Kif's\n\n{body}{end}-----END {name}-----\n"


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", PRIVATE_KEYS)
def test_private_key_passes_and_can_be_loaded(name: str, written: str) -> None:
    """A key of each format passes, however it is delivered. What programs get is PEM that can be loaded."""
    key = PRIVATE_KEYS[name]()
    text = WRITTEN[written](key)
    usable = KIND.usable(text)
    assert (judge(KIND, text), usable.split()) == (("", ""), key.split())
    assert loaded(usable).public_key() == loaded(key).public_key()


@pytest.mark.parametrize("name", PRIVATE_KEYS)
def test_cut_key_is_refused(name: str) -> None:
    """A key without one of its lines, or without some of its characters, is refused, also in base64."""
    key = PRIVATE_KEYS[name]().strip()
    texts = [written for text in cuts(key) for written in (text, text.replace("\n", "\\n"))]
    texts += [*cuts(WRITTEN["base64"](key)), *cuts(WRITTEN["base64 in lines"](key).strip())]
    assert [text for text in texts if KIND.accepts(text)] == []


class TestOtherFormats:
    """Keys that `cryptography` cannot make, and those whose format tells less."""

    @pytest.mark.parametrize(
        ("program", "make", "can_be_loaded"),
        [
            ("openssl", lambda _folder: of_openssl(), True),
            ("ssh-keygen", of_ssh_keygen, False),
            ("gpg", of_gpg, False),
        ],
        ids=["openssl", "ssh-keygen", "gpg"],
    )
    def test_key_of_a_program_passes(
        self, tmp_path: Path, program: str, make: Callable[[Path], str], *, can_be_loaded: bool
    ) -> None:
        """A key passes as another program writes it: below parameters, encrypted, or with a checksum."""
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
        key = make(tmp_path)
        texts = [written(key) for written in WRITTEN.values()]
        assert {judge(KIND, text) for text in texts} == {("", "")}
        assert {tuple(KIND.usable(text).split()) for text in texts} == {tuple(key.split())}
        assert not can_be_loaded or loaded(KIND.usable(texts[-1]))
        assert not any(KIND.accepts(key[:length]) for length in range(0, len(key) - 2, 7))

    def test_encrypted_body_is_of_whole_blocks(self) -> None:
        """A body that a header calls encrypted is not DER. It has whole blocks of its cipher."""
        key = ENCRYPTED_BY_HEADER()
        assert {judge(KIND, written(key)) for written in WRITTEN.values()} == {("", "")}
        at = key.index("\n\n") + 90
        assert judge(KIND, key[:at] + key[at + 4 :]) == CUT

    @pytest.mark.parametrize(
        ("data", "is_whole"),
        [
            (b"\x95\x00\x28" + DATA[:40], True),
            (b"\x94\x28" + DATA[:40], True),
            (b"\x96\0\0\0\x28" + DATA[:40], True),
            (b"\xc5\x28" + DATA[:40], True),
            (b"\xc5\xbf" + DATA[:191], True),
            (b"\xc5\xc0\x00" + DATA[:192], True),
            (b"\xc5\xdf\xff" + DATA[:8383], True),
            (b"\xc5\xff\0\0\0\x28" + DATA[:40], True),
            (b"\xc5\x28" + DATA[:40] + b"\xb4\x03Kif", True),
            (b"\xc5\x28" + DATA[:39], False),
            (b"\xc5\x28" + DATA[:41], False),
            (b"\xc5\xc0\x01" + DATA[:192], False),
            (b"\xc5\xe0" + DATA[:40], False),
            (b"\x95\x00\x28" + DATA[:39], False),
            (b"\xc5\x28" + DATA[:40] + b"\x34\x03Kif", False),
            (b"\xc5\x28" + DATA[:40] + b"\xb4\x04Kif", False),
        ],
        ids=range(16),
    )
    def test_packets_of_openpgp_have_their_lengths(self, data: bytes, *, is_whole: bool) -> None:
        """A key of OpenPGP is packets with the lengths that they say, in each form of a length."""
        assert judge(KIND, of_pgp(data)) == (("", "") if is_whole else CUT)

    def test_checksum_of_openpgp_may_be_missing(self) -> None:
        """The checksum at the end of OpenPGP is no template, and newer programs write none."""
        data = b"\xc5\x28" + DATA[:40]
        assert judge(KIND, of_pgp(data, "")) == judge(KIND, of_pgp(data)) == ("", "")

    def test_lines_of_whole_packets_that_are_missing(self) -> None:
        """The checksum of OpenPGP tells that a whole packet is missing."""
        packets = [b"\xc5\x37" + DATA[at : at + 55] for at in (0, 55, 110)]  # a line each
        key = of_pgp(b"".join(packets))
        lines = key.splitlines(keepends=True)
        assert judge(KIND, key) == ("", "")
        assert {judge(KIND, key.replace(line, "")) for line in lines[3:6]} == {CUT}
        assert judge(KIND, of_pgp(packets[0], "=AAAA\n")) == CUT

    @pytest.mark.parametrize("cut", [slice(1, None), slice(15, None), slice(-1), slice(20)], ids=repr)
    def test_texts_of_openssh_have_their_lengths(self, cut: slice) -> None:
        """A key of OpenSSH begins with its format, and each text in it has the length that it says."""
        body = PRIVATE_KEYS["OpenSSH"]().partition("\n")[2].partition("-----")[0]
        data = base64.b64decode(body)
        assert judge(KIND, block("OPENSSH PRIVATE KEY", data)) == ("", "")
        assert judge(KIND, block("OPENSSH PRIVATE KEY", data[cut] + DATA[:40])) == CUT

    @pytest.mark.parametrize("length", [1, 2, 3])
    @pytest.mark.parametrize(
        "make",
        [
            ENCRYPTED_BY_HEADER,
            lambda: of_pgp(b"\xc5\x28" + DATA[:40]),
            lambda: block("ANY PRIVATE KEY", DATA[:39]),
            PRIVATE_KEYS["OpenSSH"],
        ],
        ids=["encrypted", "OpenPGP", "unknown", "OpenSSH"],
    )
    def test_body_is_whole_groups_of_base64(self, make: Callable[[], str], length: int) -> None:
        """A body that is no base64, since a character is missing, is cut in each format."""
        key = make()
        at = key.index("\n-----END") - 15
        assert judge(KIND, key[:at] + key[at + length :]) == CUT

    def test_label_without_a_known_format(self) -> None:
        """A key with an unknown label has any bytes."""
        assert judge(KIND, block("ANY PRIVATE KEY", DATA[:40])) == ("", "")


class TestAge:
    """Keys of age."""

    def test_key_passes_with_the_comments_of_its_file(self) -> None:
        """A key of age passes alone, and below the comments that age writes."""
        file = age_key()
        lines = file.splitlines()
        for text in (file, lines[-1], file.replace("\n", "\r\n")):
            assert (judge(KIND, text), KIND.usable(text)) == (("", ""), text)
        assert KIND.accepts(lines[-1].replace("KEY-1", "KEY-PQ-1"))

    def test_other_text_is_refused(self) -> None:
        """A cut key, a template of one, and a key where labels are declared are refused."""
        key = age_key().splitlines()[-1]
        assert {judge(KIND, key[:-1]), judge(KIND, f"{key}b")} == {("format", "does not begin with -----BEGIN")}
        assert judge(KIND, "AGE-SECRET-KEY-1XXXXXXXXXXXXXXXX") == ("placeholder", "is a placeholder")
        assert not Material.pem("PRIVATE KEY").accepts(key)
        assert judge(Material.pem("PRIVATE KEY"), f"# The key\n{pem()}")[1] == "has a comment next to its value"

    def test_searched_is_the_key(self) -> None:
        """What is searched is the whole text."""
        key = age_key().splitlines()[-1]
        assert KIND.searched(key) == (key,)


class TestBlocks:
    """What stands in and beside the block of the key."""

    @pytest.mark.parametrize(
        "text",
        [
            f"\n  {KEY}  \n",
            CURVE_PARAMETERS + pem("EC PRIVATE KEY", 100),
            KEY + KEY.replace("PRIVATE", "PUBLIC"),
            KEY.replace("\n", "\n  "),
        ],
        ids=["blanks", "parameters", "public key", "indented"],
    )
    def test_parameters_and_public_keys_may_stand_beside_it(self, text: str) -> None:
        """Blanks around it, and parameters and public parts beside it, are no defect."""
        assert judge(KIND, text) == ("", "")

    @pytest.mark.parametrize(
        "key",
        [
            block("PRIVATE KEY", b"\x30\x2a\x30\x05\x06\x03" + DATA[:38]),
            block("RSA PRIVATE KEY", b"\x30\x28\x02\x20" + DATA[:38]),
            of_pgp(b"\xc6\x28" + DATA[:40]),
            of_pgp(b"\x99\x00\x28" + DATA[:40]),
        ],
        ids=["SPKI", "RSA", "PGP", "older PGP"],
    )
    def test_public_key_under_the_label_of_a_private_one(self, key: str) -> None:
        """What is inside is a private key, whatever the label says."""
        assert judge(KIND, key) == ("format", "has a public key under the label of a private one")

    def test_blanks_beside_a_block_are_read_once(self) -> None:
        """Blanks without a block are judged in a time that grows with their number alone."""
        assert judge(KIND, f"x{' ' * 60_000}{KEY}") == BESIDE
        assert judge(KIND, KEY.strip().replace("\n", " ", 1)) == BLANKS

    def test_attributes_of_pkcs12_may_stand_beside_the_blocks(self) -> None:
        """`openssl pkcs12` writes attributes, the subject and the issuer beside the blocks."""
        attributes = "Bag Attributes\n    localKeyID: 0F 2A\nKey Attributes: <No Attributes>\n"
        beside = f"subject=CN = kif\n\nissuer=CN = zapp\n\n{pem('CERTIFICATE')}"
        assert judge(KIND, f"{attributes}{KEY}Bag Attributes\n{beside}") == ("", "")

    def test_parameters_are_whole(self) -> None:
        """Parameters of which a part is missing make the key unreadable, so they are refused."""
        key = pem("EC PRIVATE KEY", 100)
        assert judge(KIND, CURVE_PARAMETERS.replace("Bggq", "") + key) == CUT
        assert judge(KIND, CURVE_PARAMETERS.replace("PQMB", "") + key) == CUT
        assert judge(KIND, block("DH PARAMETERS", DATA[:40]) + key) == CUT
        assert judge(KIND, block("DH PARAMETERS", b"\x30\x28\x02" + DATA[:39]) + key) == ("", "")

    def test_body_has_32_bytes_or_more(self) -> None:
        """A body of fewer bytes is no key."""
        assert judge(KIND, block("PRIVATE KEY", b"\x30\x1e\x02\x01" + DATA[:28])) == ("", "")
        assert judge(KIND, block("PRIVATE KEY", b"\x30\x1d\x02" + DATA[:28])) == ("placeholder", NO_BODY)

    @pytest.mark.parametrize(
        "data",
        [DATA[:40], b"\x30\x26\x02" + DATA[:38], b"\x30\x28\x02" + DATA[:38], b"\x30\x26\x04" + DATA[:37], b"\x30"],
        ids=["no sequence", "longer", "shorter", "of something else", "a byte"],
    )
    def test_der_has_its_length(self, data: bytes) -> None:
        """DER is a sequence of the length that it says, of a sequence or a number."""
        key = block("EC PRIVATE KEY", b"\x30\x28\x02\x01" + DATA[:38])
        assert judge(KIND, key) == ("", "")
        assert judge(KIND, key + block("CERTIFICATE", data)) == CUT

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("your-private-key", ("placeholder", "is a placeholder")),
            ("/run/secrets/key.pem", ("placeholder", "is a path, not the content of the file")),
            (f"{BEGIN}\n{END}", ("placeholder", NO_BODY)),
            (f"{BEGIN}\n{'A' * 64}\n{'A' * 64}\n{END}", ("placeholder", "has a body that is a placeholder")),
            (f"{BEGIN}\nyour key here\n{END}", ("placeholder", "has a body that is a placeholder")),
            (f"{KEY}{BEGIN}\nyour key here\n{END}", ("placeholder", "has a body that is a placeholder")),
            (KEY.replace("MII", "M!I"), ("placeholder", NO_BODY)),
            (f'"{KEY.strip()}"', ("format", "has quotes around it")),
            (KEY.replace("RSA", "RSA\u200b"), ("format", "has a newline or an invisible character")),
            ("zq9Kif83w", ("format", "does not begin with -----BEGIN")),
            (base64.b64encode(b"\x02kif leela" * 4).decode(), ("format", "does not begin with -----BEGIN")),
            (KEY[:100], ("format", NO_END)),
            (KEY.replace("END RSA", "END EC"), ("format", NO_END)),
            (KEY.replace("PRIVATE", "PUBLIC"), ("format", LABEL)),
            (KEY.replace("RSA PRIVATE KEY", "CERTIFICATE"), ("format", LABEL)),
            (KEY + KEY, ("format", "has its value twice")),
            (KEY + pem(), ("format", "has more than one private key")),
            (KEY + KEY.replace("RSA PRIVATE KEY", "CERTIFICATE REQUEST"), OTHER_BLOCK),
            (f"Bag of {KEY}", BESIDE),
            (f"{KEY}kif\n{KEY.replace('PRIVATE', 'PUBLIC')}", BESIDE),
            (f"{KEY}kif", BESIDE),
            (f"{BEGIN}\n", ("format", "has its first line alone")),
            (KEY.replace("\n", " "), BLANKS),
            (KEY.replace("\n", "\\\\n"), BLANKS),
            (f"# The key\n{KEY}", ("format", "has a comment next to its value")),
        ],
        ids=range(25),
    )
    def test_other_text_is_refused(self, text: str, expected: tuple[str, str]) -> None:
        """Text that is not one whole private key is refused for what it is."""
        assert judge(KIND, text) == expected

    def test_text_without_a_block_has_no_other_fault(self) -> None:
        """Text without a block has one fault: no rule of a block is asked."""
        assert [each.message for each in Pem().format_faults("zq9Kif83w")] == ["does not begin with -----BEGIN"]

    @pytest.mark.parametrize(
        ("text", "fix"),
        [
            (f"{BEGIN}\n", r"set {} whole, with \n for each newline (docker --env-file takes one line)"),
            (KEY[:100], "set {} to the whole key"),
            (KEY.replace("\n", " "), r"set {} with its newlines, or with \n for each"),
            (f"Kif\n{KEY}", "set {} to the value alone, from its first BEGIN to its last END line"),
            (KEY + pem(), "set {} to the private key alone"),
            (KEY + block("X", DATA[:40]), "set {} to the value alone, without the other block"),
            (KEY.replace(KEY.splitlines()[1], ""), "set {} to the whole key, with each of its lines"),
        ],
        ids=range(7),
    )
    def test_fix_is_that_of_the_defect(self, text: str, fix: str) -> None:
        """Each defect has one fix, which needs no new key."""
        fault = KIND.fault(text)
        assert fault is not None
        assert fault.fix == fix

    @pytest.mark.parametrize("make", [certificate, lambda: CURVE_PARAMETERS], ids=["certificate", "parameters"])
    def test_what_is_beside_it_is_no_key(self, make: Callable[[], str]) -> None:
        """A certificate or parameters without a key are refused."""
        assert judge(KIND, make())[0] in {"format", "placeholder"}


@pytest.mark.parametrize("label", ["", "rsa", " KEY", "RSA  KEY", 7], ids=repr)
def test_label_in_capitals(label: str) -> None:
    """A label is of words in capitals."""
    with pytest.raises(ValueError, match=r"Material\.pem: labels in capitals, such as RSA PRIVATE KEY"):
        Material.pem(label)


class TestLabels:
    """`Material.pem()` with labels."""

    kind = Material.pem("EC PRIVATE KEY", "CERTIFICATE")

    def test_label_is_one_of_those_declared(self) -> None:
        """With labels, no other is accepted, and these are named."""
        assert judge(self.kind, KEY) == ("format", "does not have the label EC PRIVATE KEY or CERTIFICATE")
        assert judge(self.kind, KEY.replace("RSA PRIVATE KEY", "CERTIFICATE")) == ("", "")
        assert judge(self.kind, KEY + KEY.replace("RSA PRIVATE KEY", "CERTIFICATE")) == OTHER_BLOCK

    @pytest.mark.parametrize("label", ["PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"])
    def test_temporary_value_can_be_loaded(self, label: str) -> None:
        """A temporary key of the first label is whole. Those of PKCS#8 and EC can be loaded."""
        kind = Material.pem(label, "RSA PRIVATE KEY")
        key = kind.temporary()
        assert (judge(kind, key), key.startswith(f"-----BEGIN {label}-----\n")) == (("", ""), True)
        assert label.startswith(("OPENSSH", "PGP")) or loaded(key)
        assert not any(kind.accepts(text) for text in cuts(key.strip()))


class TestSearched:
    """What `scan` looks for."""

    def test_searched_are_the_lines_of_the_key(self) -> None:
        """What is searched are the lines of the private key, and no line of a certificate beside it."""
        lines = tuple(KEY.splitlines()[1:-1])
        beside = pem("CERTIFICATE")
        assert KIND.searched(KEY) == KIND.searched(KEY.replace("\n", "\\n")) == KIND.searched(beside + KEY) == lines

    def test_base64_is_searched_as_it_is_written(self) -> None:
        """Base64 of a key is searched in this form too."""
        text = base64.b64encode(KEY.encode()).decode()
        assert KIND.searched(f"{text}\n") == (text, *KEY.splitlines()[1:-1])


@pytest.mark.parametrize("kind", [Material.pem("RSA PRIVATE KEY"), KIND], ids=["labels", "any"])
def test_text_that_is_not_utf8_in_base64(kind: Kind) -> None:
    """Base64 of a first line and of bytes that are no text is refused. No error leaves."""
    text = base64.b64encode(f"{BEGIN}\n".encode() + DATA[:60]).decode()
    assert kind.fault(text) == Fault("format", NO_END, "set {} to the whole key")
