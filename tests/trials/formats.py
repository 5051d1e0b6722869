"""Random values of the secrets that others issue, by format, as their issuers make them."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable
from typing import Final

from robodj_secretguard import Kind, Material

ALNUM: Final = string.ascii_letters + string.digits
URL_SAFE: Final = f"{ALNUM}-_"
BASE64: Final = f"{ALNUM}+/"
HEX: Final = "0123456789abcdef"
UPPER_ALNUM: Final = string.ascii_uppercase + string.digits
BASE32: Final = string.ascii_uppercase + "234567"
PRINTABLE: Final = "".join(map(chr, range(33, 127))).replace("'", "").replace('"', "")

Maker = Callable[[random.Random], str]


def text(rng: random.Random, alphabet: str, length: int) -> str:
    """Make a random text."""
    return "".join(rng.choices(alphabet, k=length))


def filled(template: str) -> Maker:
    """Return what makes a text of a template: {24:A} is 24 random characters of an alphabet, {32:B} bytes in base64."""
    alphabets = {"A": ALNUM, "a": string.ascii_lowercase, "D": string.digits, "H": HEX, "U": URL_SAFE, "P": PRINTABLE}
    alphabets |= {"C": UPPER_ALNUM, "T": BASE32, "A/+": BASE64, "L": f"{string.ascii_lowercase}{string.digits}"}
    alphabets |= {"Z": string.ascii_uppercase, "M": string.ascii_letters}

    def make(rng: random.Random) -> str:
        made, rest = "", template
        while "{" in rest:
            fixed, _, rest = rest.partition("{")
            field, _, rest = rest.partition("}")
            length, _, kind = field.partition(":")
            made += fixed
            made += (
                base64.b64encode(rng.randbytes(int(length))).decode()
                if kind == "B"
                else text(rng, alphabets[kind], int(length))
            )
        return made + rest

    return make


def jwt(rng: random.Random) -> str:
    """Make a JSON Web Token of a service account."""
    claims = {"iss": "kubernetes/serviceaccount", "sub": f"system:serviceaccount:shop:{text(rng, HEX, 8)}"}
    parts = [json.dumps({"alg": "RS256", "kid": text(rng, URL_SAFE, 43)}).encode(), json.dumps(claims).encode()]
    return ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in (*parts, rng.randbytes(256)))


def pem(label: str = "PRIVATE KEY", size: int = 1190, newline: str = "\n") -> Maker:
    """Return what makes a PEM block of DER with random bytes."""

    def make(rng: random.Random) -> str:
        body = base64.b64encode(b"\x30\x82" + (size + 3).to_bytes(2) + b"\x02\x01\x00" + rng.randbytes(size)).decode()
        lines = [body[start : start + 64] for start in range(0, len(body), 64)]
        return newline.join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])

    return make


def service_account(rng: random.Random) -> str:
    """Make the credentials of a service account at Google."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "shop-prod",
            "private_key_id": text(rng, HEX, 40),
            "private_key": pem()(rng),
            "client_email": f"orders@shop-{text(rng, string.digits, 6)}.iam.gserviceaccount.com",
        },
        indent=2,
    )


AZURE: Final = "DefaultEndpointsProtocol=https"
SERVICE_BUS: Final = "Endpoint=sb://shop.servicebus.windows.net/"
FORMATS: Final[dict[str, tuple[Kind, Maker]]] = {
    **{
        name: (Material.opaque(minimum), filled(shape))
        for name, minimum, shape in (
            ("GitHub fine-grained", 8, "github_pat_{22:A}_{59:A}"),
            ("GitHub classic", 8, "ghp_{36:A}"),
            ("GitLab", 8, "glpat-{20:U}"),
            ("Slack bot", 8, "xoxb-{12:D}-{13:D}-{24:A}"),
            ("Slack webhook", 8, "https://hooks.slack.com/services/T{10:C}/B{10:C}/{24:A}"),
            ("Slack signing", 8, "{32:H}"),
            ("Twilio SID", 8, "AC{32:H}"),
            ("Twilio key", 8, "SK{32:H}"),
            ("SendGrid", 8, "SG.{22:U}.{43:U}"),
            ("Mailgun", 8, "key-{32:H}"),
            ("Mailgun new", 8, "{32:H}-{8:H}-{8:H}"),
            ("Mailchimp", 8, "{32:H}-us12"),
            ("Postmark", 8, "{8:H}-{4:H}-{4:H}-{4:H}-{12:H}"),
            ("Stripe live", 8, "sk_live_{24:A}"),
            ("Stripe long", 8, "sk_live_51{97:A}"),
            ("Stripe webhook", 8, "whsec_{32:A}"),
            ("AWS key id", 8, "AKIA{16:T}"),
            ("AWS secret", 40, "{40:A/+}"),
            ("Google API", 8, "AIza{35:U}"),
            ("Google OAuth", 8, "GOCSPX-{28:U}"),
            ("Azure storage", 60, f"{AZURE};AccountName=shop{{4:D}};AccountKey={{64:B}};EndpointSuffix=core.net"),
            ("Azure SAS", 40, "sv=2022-11-02&ss=b&srt=co&sp=rl&se=2027-01-01T00:00:00Z&sig={32:B}"),
            ("Azure service bus", 40, f"{SERVICE_BUS};SharedAccessKeyName=RootManage;SharedAccessKey={{32:B}}"),
            ("Azure client secret", 8, "{3:A}8Q~{34:U}"),
            ("Telegram", 8, "{10:D}:{35:U}"),
            ("Discord", 8, "{24:A}.{6:U}.{38:U}"),
            ("Discord webhook", 8, "https://discord.com/api/webhooks/{19:D}/{68:U}"),
            ("OpenAI", 8, "sk-{48:A}"),
            ("OpenAI project", 8, "sk-proj-{156:U}"),
            ("Anthropic", 8, "sk-ant-api03-{93:U}AA"),
            ("Hugging Face", 8, "hf_{34:M}"),
            ("npm", 8, "npm_{36:A}"),
            ("PyPI", 8, "pypi-AgEIcHlwaS5vcmc{150:U}"),
            ("Cloudflare", 8, "{40:U}"),
            ("Datadog", 8, "{32:H}"),
            ("New Relic", 8, "NRAK-{27:C}"),
            ("DigitalOcean", 8, "dop_v1_{64:H}"),
            ("Heroku", 8, "HRKU-{60:U}"),
            ("Shopify", 8, "shpat_{32:H}"),
            ("Square", 8, "EAAA{60:U}"),
            ("PayPal", 8, "E{79:U}"),
            ("Algolia", 8, "{32:H}"),
            ("Mapbox", 8, "sk.{80:U}.{22:U}"),
            ("Linear", 8, "lin_api_{40:A}"),
            ("Notion", 8, "ntn_{46:A}"),
            ("Airtable", 8, "pat{14:A}.{64:H}"),
            ("Figma", 8, "figd_{40:U}"),
            ("Vault", 8, "hvs.{90:U}"),
            ("Supabase", 8, "sbp_{40:H}"),
            ("Resend", 8, "re_{8:A}_{24:A}"),
            ("Brevo", 8, "xkeysib-{64:H}-{16:A}"),
            ("Razorpay", 8, "rzp_live_{14:A}"),
            ("Razorpay secret", 8, "{24:A}"),
            ("Grafana", 8, "glsa_{32:A}_{8:H}"),
            ("Docker Hub", 8, "dckr_pat_{27:U}"),
            ("Pulumi", 8, "pul-{40:H}"),
            ("Databricks", 8, "dapi{32:H}"),
            ("Atlassian", 8, "ATATT3xFfGF0{172:U}={8:C}"),
            ("Okta", 8, "00{40:U}"),
            ("Braintree", 8, "{16:L}"),
            ("Firebase FCM", 8, "AAAA{7:U}:APA91b{134:U}"),
            ("TOTP seed", 8, "{32:T}"),
            ("UUID", 8, "{8:H}-{4:H}-{4:H}-{4:H}-{12:H}"),
            ("Apple app password", 8, "{4:a}-{4:a}-{4:a}-{4:a}"),
            ("Google app password", 8, "{4:a} {4:a} {4:a} {4:a}"),
            ("five groups", 16, "{6:a} {6:a} {6:a} {6:a} {6:a}"),
            ("licence", 8, "{5:C}-{5:C}-{5:C}-{5:C}-{5:C}"),
            *((f"hexadecimal {size}", 8, f"{{{size}:H}}") for size in (16, 32, 40, 64)),
            *((f"base64 {size}", 8, f"{{{size}:B}}") for size in (16, 20, 24, 32, 48, 64)),
            *((f"token_urlsafe {size}", 8, f"{{{size}:U}}") for size in (8, 11, 16, 22, 32, 43)),
            *((f"digits {size}", 8, f"{{{size}:D}}") for size in (8, 10, 12, 16, 20)),
            *((f"password {kind} {size}", 8, f"{{{size}:{kind}}}") for size in (8, 10, 12) for kind in "AaZLCPMU"),
        )
    },
    "JSON Web Token": (Material.opaque(40), jwt),
    **{
        name: (Material.url(*schemes), filled(shape))
        for name, schemes, shape in (
            ("PostgreSQL", ("postgresql", "postgres"), "postgresql://orders_rw:{32:A}@db.shop.internal:5432/orders"),
            ("PostgreSQL short", (), "postgresql+asyncpg://postgres:{12:A}@db/postgres"),
            ("Redis", ("redis", "rediss"), "redis://default:{32:A}@cache:6379/0"),
            ("Redis without user", ("redis", "rediss"), "REDISS://:{16:A}@[fd00::1]:6379/0"),
            ("MongoDB", ("mongodb", "mongodb+srv"), "mongodb+srv://app:{20:A}@c0.ab1.mongodb.net/a?retryWrites=true&w=majority"),
            ("MongoDB hosts", ("mongodb",), "mongodb://app:{20:A}@h1:27017,h2:27017/db?replicaSet=rs0"),
            ("SMTP", ("smtp", "smtps"), "smtp://mailer%40shop.net:{20:A}@smtp.shop.net:587"),
            ("Sentry", (), "https://{32:H}@o{6:D}.ingest.sentry.io/{7:D}"),
            ("AMQP", ("amqp", "amqps"), "amqps://shop:{24:A}@mq.shop.internal:5671/%2F"),
            ("MySQL socket", ("mysql",), "mysql://shop:{24:A}@/shop?unix_socket=/run/mysqld/mysqld.sock"),
        )
    },
    "RSA": (Material.pem(), pem("RSA PRIVATE KEY")),
    "PKCS8": (Material.pem("PRIVATE KEY"), pem(newline="\\n")),
    "Ed25519": (Material.pem(), pem(size=46, newline="\r\n")),
    "Google service account": (Material.json("private_key", "client_email"), service_account),
    "Google service account, any member": (Material.json(), service_account),
    "database, any member": (
        Material.json(),
        lambda rng: json.dumps({"username": "admin", "password": text(rng, ALNUM, 16), "dbname": "test", "port": 5432}),
    ),
}  # fmt: skip
"""The kind that a service declares for each format, and what makes a value of it."""
