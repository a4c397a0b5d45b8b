# For destroying keys and taking the title to. It reads entries to see that they are gone; without Transit what it reads
# opens nothing.

path "{{.Mount}}/keys/+" {
  capabilities = ["read", "delete"]
}

path "{{.Mount}}/sentinel" {
  capabilities = ["read"]
}

path "{{.Mount}}-generation/data/generation" {
  capabilities = ["create", "read", "update"]
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
