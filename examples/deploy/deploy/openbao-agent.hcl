# OpenBao Agent: it writes each variable of secret/robodj into a file of its own. Copy it to /etc/robodj/openbao-agent.hcl.
# Guide: https://github.com/robodj/robodj-secretguard/blob/main/docs/vault.md
vault {
  address = "https://vault.example:8200"
}

auto_auth {
  method "approle" {
    config = {
      role_id_file_path   = "/etc/robodj/role-id"
      secret_id_file_path = "/etc/robodj/secret-id"
      # By default, the agent deletes the file, and cannot log in after its next start.
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  # How often the secret is read. The default is five minutes.
  static_secret_render_interval = "30s"
}

# The agent replaces one file after the other, in this order. Whenever it is stopped, the files are a set that accepts
# every valid token. A field that is absent gives an empty file, which counts as unset.
template {
  destination = "/run/robodj/secrets/ROBODJ_ENVIRONMENT"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_ENVIRONMENT }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_KEY_PREVIOUS_UNTIL"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_KEY_PREVIOUS_UNTIL }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_KEY_PREVIOUS"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_KEY_PREVIOUS }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_KEY"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_KEY }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_KEY_EXPIRES_AT"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_KEY_EXPIRES_AT }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_KEY_NEXT"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_KEY_NEXT }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_V2_KEY_PREVIOUS_UNTIL"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_V2_KEY_PREVIOUS_UNTIL }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_V2_KEY_PREVIOUS"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_V2_KEY_PREVIOUS }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_V2_KEY"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_V2_KEY }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_V2_KEY_EXPIRES_AT"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_V2_KEY_EXPIRES_AT }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_SECRET_V2_KEY_NEXT"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_SECRET_V2_KEY_NEXT }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
template {
  destination = "/run/robodj/secrets/ROBODJ_REVOKED_FINGERPRINTS"
  contents    = "{{ with secret \"secret/data/robodj\" }}{{ with .Data.data.ROBODJ_REVOKED_FINGERPRINTS }}{{ . }}{{ end }}{{ end }}"
  perms       = "0444"
}
