# One identity for everything: it serves and it destroys. Use it where one process does both.

# Subject keys. Without update Vault refuses to overwrite one; without list nobody can walk them.
path "{{.Mount}}/keys/+" {
  capabilities = ["create", "read", "delete"]
}

path "{{.Mount}}/sentinel" {
  capabilities = ["read"]
}

# Which store is the live one. Check-and-set is required by the mount; versions are never deleted.
path "{{.Mount}}-generation/data/generation" {
  capabilities = ["create", "read", "update"]
}

# How far the erasure ledger is carried out.
path "{{.Mount}}-generation/data/mark" {
  capabilities = ["create", "read", "update"]
}

# Wrap and unwrap subject keys, and compute MACs. Transit asks for update; create would let encrypt make keys.
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

# Add a version to the signing key.
path "{{.Mount}}-transit/keys/log-{{.Tenant}}/rotate" {
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
