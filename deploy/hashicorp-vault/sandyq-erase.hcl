# For destroying keys and taking the title to. It reads entries to see that they are gone; as it may not have Transit unwrap
# them, what it reads opens nothing.

path "{{.Mount}}/keys/+" {
  capabilities = ["read", "delete"]
}

path "{{.Mount}}/sentinel" {
  capabilities = ["read"]
}

path "{{.Mount}}-generation/data/generation" {
  capabilities = ["create", "read", "update"]
}

# How far the erasure ledger is carried out.
path "{{.Mount}}-generation/data/mark" {
  capabilities = ["create", "read", "update"]
}

# Add a version to the key that signs the transparency log. To sign with it is for those who serve.
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
