package certificate

import (
	"fmt"
	"strings"
	"time"
)

// Proved says in plain words what the document proves to who trusts the key that it was checked with, and nobody else.
func (v *Verified) Proved() []string {
	c := &v.Content
	keys := "no key: nothing was ever sealed under one"
	if n := len(c.Destroyed.Slices); n > 0 {
		keys = fmt.Sprintf("%d key(s), whose ids and counts are those of the certificate", n)
	}
	whole := "the whole person"
	if !c.Scope.Person {
		whole = "of a person who lives on the slices " + strings.Join(c.Scope.Slices, ", ")
	}
	all := []string{
		fmt.Sprintf("The holder of the log's key %s signed this certificate of the erasure %s.", v.Signer, c.Erasure),
		fmt.Sprintf("The log says that it erased %s.", whole),
		fmt.Sprintf("Entry %d of the log %s says that at %s the vault had destroyed %s.", v.KeyDestroyed, v.Tree.Origin, day(c.KeyDestroyedAt), keys),
		fmt.Sprintf("Entry %d says that the erasure ended at %s.", v.Erased, day(c.ErasedAt)),
		fmt.Sprintf("Both entries are in the tree of %d entries that the log signed: it cannot take them back or change them without contradicting its own signature.",
			v.Tree.Size),
	}
	if !v.Signer.Equal(v.Held) {
		all = append(all, fmt.Sprintf("The key %s that you hold, by its own signature, led to the key that signed.", v.Held))
	}
	if v.Removal != nil {
		all = append(all, "The same log signed that it measured the remains to be gone.")
	}
	return all
}

// Stated says what the document does not prove: what rests on the word of the operator who signed it.
func (v *Verified) Stated() []string {
	c := &v.Content
	all := []string{
		"That whoever held the keys showed every one of them to be gone: the log has the vault's word for it.",
		fmt.Sprintf("That the erasure was asked for at %s and the person was unreadable from %s on.", day(c.RequestedAt), day(c.ErasingAt)),
		"That there is no copy of the data which the vault does not know of: printed, exported, or read out before.",
	}
	switch k := c.Residue.Keys; k.Provider {
	case ProviderVault:
		all = append(all, fmt.Sprintf("That no snapshot of HashiCorp Vault is kept for longer than %d days: until %s one could hold the destroyed keys.", k.SnapshotDays, day(k.Until)))
	case ProviderLocal:
		all = append(all, "That the disk overwrote the files of the keys in place: flash and copy-on-write disks may keep what was overwritten, sealed under the root key.")
	}
	if i := c.Residue.Index; i != nil && i.DestroyedBy.IsZero() {
		all = append(all, fmt.Sprintf("No date ends index epoch %d: until it is rotated, who holds an old backup and use of both index keys can match its entries.", i.Epoch))
	} else if i != nil {
		all = append(all, fmt.Sprintf("That the key of index epoch %d is destroyed by %s: until then, who holds an old backup and use of both index keys can match its entries.", i.Epoch, day(i.DestroyedBy)))
	}
	for _, k := range c.Kept {
		until := ""
		if !k.Until.IsZero() {
			until = ", until " + day(k.Until)
		}
		all = append(all, fmt.Sprintf("That nothing is kept but %s%s%s.", k.Citation, times(k.Count), until))
	}
	if v.Removal == nil {
		all = append(all, "Deleted ciphertext, which no key opens any more, may still lie in the store's files: no note on its removal is here yet.")
	} else {
		all = append(all, fmt.Sprintf("That the measurement of %s (%s) found nothing left.", day(v.Removal.MeasuredAt), v.Removal.what()))
	}
	return all
}

func times(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d)", n)
}

func (r *Removal) what() string {
	var all []string
	for _, m := range r.Measured {
		all = append(all, m.What)
	}
	return strings.Join(all, ", ")
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
