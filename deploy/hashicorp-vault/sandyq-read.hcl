# For nodes that serve and never destroy: they make keys and open them, and cannot delete one or take the title to.

path "{{.Mount}}/keys/+" {
  capabilities = ["create", "read"]
}

path "{{.Mount}}/sentinel" {
  capabilities = ["read"]
}

path "{{.Mount}}-generation/data/generation" {
  capabilities = ["read"]
}

path "{{.Mount}}-transit/encrypt/wrap-{{.Tenant}}" {
  capabilities = ["update"]
}

path "{{.Mount}}-transit/decrypt/wrap-{{.Tenant}}" {
  capabilities = ["update"]
}

path "{{.Mount}}-transit/hmac/index-{{.Tenant}}/sha2-256" {
  capabilities = ["update"]
}

# The token's own affairs.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "sys/capabilities-self" {
  capabilities = ["update"]
}
