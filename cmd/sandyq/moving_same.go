package main

// sameVault refuses configurations that differ in more than where rows, documents and keys lie: the ledger stays. rekeys tells whether the
// keys move, which they do of all tenants or of none.
func sameVault(from, to config) (rekeys bool, err error) {
	a, b := from.tenants(), to.tenants()
	if len(a) != len(b) {
		return false, usagef("--from and --to do not have the same tenants")
	}
	for i := range a {
		if a[i].Tenant != b[i].Tenant {
			return false, usagef("--from and --to do not have the same tenants in the same order")
		}
		differ := !a[i].sameKeys(b[i])
		if i > 0 && differ != rekeys {
			return false, hinted(ofTenant(to, b[i], usagef("--to names other keys for some tenants only")), "move the keys of all tenants, or of none")
		}
		rekeys = differ
	}
	if x, y := from.Ledger.S3, to.Ledger.S3; !x.sameBucket(y.s3Config) || !x.used() && from.ledgerDir() != to.ledgerDir() {
		return false, hinted(usagef("--to names another erasure ledger than --from"), "the ledger stays where it is: name it in both")
	}
	if rekeys && from.Audit.Origin != to.Audit.Origin {
		return false, usagef("--to names another audit.origin than --from")
	}
	return rekeys, nil
}

// sameKeys reports whether two configurations of a tenant name one key provider.
func (c config) sameKeys(other config) bool {
	x, y := c.Keys, other.Keys
	if x.Provider != y.Provider {
		return false
	}
	if x.Provider == providerVault {
		return [3]string{x.Vault.Address, x.Vault.Namespace, x.Vault.Mount} == [3]string{y.Vault.Address, y.Vault.Namespace, y.Vault.Mount}
	}
	return c.keysDir() == other.keysDir()
}

// sameBucket reports whether two are one place.
func (c s3Config) sameBucket(other s3Config) bool {
	return c.Endpoint == other.Endpoint && c.Bucket == other.Bucket && c.Prefix == other.Prefix
}

// sameDocuments reports whether the documents stay where they are.
func (m *moving) sameDocuments() bool {
	x, y := m.from, m.to
	if x.Blobs.Engine != y.Blobs.Engine {
		return false
	}
	if x.Blobs.Engine == blobsS3 {
		return x.Blobs.S3.sameBucket(y.Blobs.S3)
	}
	return x.documentsDir() == y.documentsDir()
}
