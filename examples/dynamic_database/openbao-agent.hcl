# OpenBao Agent: it writes the URL with a user of its own, and a new one before OpenBao deletes that user.
# The paths are below the directory in which the agent starts. VAULT_ADDR has the address of the server.
auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "role-id"
      secret_id_file_path                 = "secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template {
  destination = "secrets/DATABASE_URL"
  contents    = "{{ with secret \"database/creds/shop\" }}postgresql://{{ .Data.username }}:{{ .Data.password }}@{{ env \"SHOP_DATABASE\" }}{{ end }}"
  perms       = "0400"
}

# Without the environment, the service warns at each change: all values are other ones, and nothing says whose they are.
template {
  destination = "secrets/ROBODJ_ENVIRONMENT"
  contents    = "{{ env \"ROBODJ_ENVIRONMENT\" }}"
  perms       = "0400"
}
