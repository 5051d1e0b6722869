#!/bin/sh
# Set OpenBao up, as its administrator: a database, a role with a user for each lease, and the login of the agent.
# SHOP_DATABASE has the database as HOST:PORT/NAME. The file `password` has that of the database's user `openbao`.
set -eu
umask 077

bao secrets enable database
bao write database/config/shop plugin_name=postgresql-database-plugin allowed_roles=shop \
    connection_url="postgresql://{{username}}:{{password}}@$SHOP_DATABASE" username=openbao password=@password

# With one number for both, the agent writes the next URL while a quarter of the lease is left.
# With SET role, all that a user makes belongs to shop, so DROP ROLE works. A query that runs meanwhile does not fail.
# To end its open sessions too, first run SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'.
# Then a query that takes longer than the overlap fails. The user openbao needs the role pg_signal_backend for it.
bao write database/roles/shop db_name=shop default_ttl="$SHOP_LEASE" max_ttl="$SHOP_LEASE" \
    creation_statements='CREATE ROLE "{{name}}" LOGIN PASSWORD '\''{{password}}'\'' VALID UNTIL '\''{{expiration}}'\'' IN ROLE shop;
        ALTER ROLE "{{name}}" SET role = shop' \
    revocation_statements='DROP ROLE IF EXISTS "{{name}}"'

bao policy write shop - <<'POLICY'
path "database/creds/shop" {
  capabilities = ["read"]
}
POLICY

# The policy `default` lets the agent renew its leases. Without that, it asks for ten users a second.
bao auth enable approle
bao write auth/approle/role/shop token_policies=shop
bao read -field=role_id auth/approle/role/shop/role-id >role-id
bao write -force -field=secret_id auth/approle/role/shop/secret-id >secret-id
