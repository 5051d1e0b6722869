"""Django with its own pool of connections. Serve it: `uvicorn django_service:app`."""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path
from shop_secrets import secrets

from robodj_secretguard.adapters.django_database import follow

POSTGRESQL = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {"pool": True}}

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": follow(POSTGRESQL, secrets.database_url)},
    ROOT_URLCONF=__name__,
)


def order(_request: HttpRequest) -> JsonResponse:
    """Store an order, and return its number."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders DEFAULT VALUES RETURNING number")
        return JsonResponse(cursor.fetchone()[0], safe=False)


urlpatterns = [path("orders", order)]
app = get_asgi_application()
