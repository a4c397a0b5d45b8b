# For nodes that serve and never destroy: they make keys and open them and sign the transparency log; they cannot delete a
# key or take the title to, nor rotate the signing key.

path "{{.Mount}}/keys/+" {
  capabilities = ["create", "read"]
}

path "{{.Mount}}/sentinel" {
  capabilities = ["read"]
}

path "{{.Mount}}-generation/data/generation" {
  capabilities = ["read"]
}

# How far the erasure ledger is carried out.
path "{{.Mount}}-generation/data/mark" {
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

# Sign the transparency log and tell its public keys. Reading a key in Transit tells no secret half.
path "{{.Mount}}-transit/sign/log-{{.Tenant}}" {
  capabilities = ["update"]
}

path "{{.Mount}}-transit/keys/log-{{.Tenant}}" {
  capabilities = ["read"]
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
