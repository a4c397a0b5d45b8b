# HashiCorp Vault, one node, sealed until somebody unseals it.

storage "raft" {
  path    = "/vault/file"
  node_id = "vault"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/run/secrets/vault.crt"
  tls_key_file  = "/run/secrets/vault.key"
}

api_addr      = "https://vault:8200"
cluster_addr  = "https://vault:8201"
disable_mlock = true # as integrated storage asks; the container has no swap
ui            = false
