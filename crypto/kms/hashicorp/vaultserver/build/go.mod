module github.com/sandyq/sandyq/crypto/kms/hashicorp/vaultserver/build

go 1.26.0

require (
	github.com/hashicorp/vault v1.21.0
	github.com/hashicorp/vault/sdk v0.20.0
)

replace github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3
