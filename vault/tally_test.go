package vault_test

import (
	"bytes"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/store"
	"github.com/sandyq/sandyq/vault/vaulttest"
)

// wantTallies holds what the people's rows say of how much there is against what there is: what each key seals, and the tokens of
// each system.
func wantTallies(t *testing.T, v *vaulttest.Vault) {
	t.Helper()
	type tally struct{ values, parts int }
	const whose, name = 2 + len("test"), 2 + len("test") + 16 // where they begin in a key
	sealed, issued := map[kms.ID]tally{}, map[string]int{}
	all := must[[]store.Pair](t)(rows(v.Store))
	for _, p := range all {
		switch kindOf(p.Key) {
		case 'r':
			key := kms.ID(member[[]byte](p.Value, 1))
			sealed[key] = tally{sealed[key].values + 1, sealed[key].parts}
		case 'd':
			for i, part := range member[[]map[int]cbor.RawMessage](p.Value, 2) {
				key := kms.ID(raw[[]byte](part[2]))
				sealed[key] = tally{sealed[key].values + max(1-i, 0), sealed[key].parts + 1}
			}
		case 'k':
			system, _, _ := bytes.Cut(p.Key[name:], []byte{0})
			issued[string(p.Key[whose:name])+string(system)]++
		}
	}
	people, counted := 0, 0
	for _, p := range all {
		if kindOf(p.Key) != 's' || p.Value[0] != 1 {
			continue
		}
		people++
		rest := p.Value[11:]
		for range p.Value[10] {
			rest = rest[27+int(rest[26]):]
		}
		said := member[map[string]map[int]cbor.RawMessage](rest, 10)
		for slice, key := range member[map[string][]byte](rest, 3) {
			got := tally{parts: raw[int](said[slice][2])}
			for _, n := range raw[map[string]int](said[slice][1]) {
				got.values += n
			}
			if want := sealed[kms.ID(key)]; got != want {
				t.Errorf("a key of the slice %s seals %+v, and the row says %+v", slice, want, got)
			}
			counted += got.values
		}
		for system, of := range member[map[string]map[int]int](rest, 11) {
			if want := issued[string(p.Key[whose:])+system]; of[1]+of[2] != want {
				t.Errorf("%s has %d tokens, and the row says %v", system, want, of)
			}
			delete(issued, string(p.Key[whose:])+system)
		}
	}
	if people == 0 || counted == 0 || len(issued) > 0 {
		t.Errorf("%d people with %d values; tokens that no row counts: %d", people, counted, len(issued))
	}
}
