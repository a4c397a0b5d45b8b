package paper

import (
	"fmt"
	"strings"

	"github.com/sandyq/sandyq/vault/audit/certificate"
)

// section is a part of the page.
type section struct {
	title string
	rows  []row
}

// row is a label and what it labels; mono sets ids in letters of one width.
type row struct {
	label, text string
	mono        bool
}

// most is how many of a list are set; the JSON has them all.
const most = 6

// sections is what the page says of a certificate.
func (w *words) sections(v *certificate.Verified) []section {
	c := &v.Content
	who := []row{{label: w.operator, text: c.Operator}, {label: w.tenant, text: c.Tenant}, {label: w.erasure, text: c.Erasure, mono: true},
		{label: w.subject, text: c.Subject, mono: true}}
	if c.Operator == "" {
		who = who[1:]
	}
	if r := c.Requester; r != nil {
		who = append(who, row{label: w.requester, text: strings.TrimSpace(r.System + "  " + r.Subject), mono: true})
	}
	who = append(who, row{label: w.ground, text: w.citation(c.Ground)}, row{label: w.reason, text: c.Reason, mono: true}, row{label: w.scope, text: w.whole(c.Scope)})
	when := []row{
		{label: w.requested, text: clock(c.RequestedAt)}, {label: w.unreadable, text: clock(c.ErasingAt)},
		{label: w.keyDestroyed, text: clock(c.KeyDestroyedAt)}, {label: w.erased, text: clock(c.ErasedAt)},
	}
	log := []row{
		{label: w.origin, text: c.Origin, mono: true},
		{label: w.entries, text: fmt.Sprintf(w.ofEntries, v.KeyDestroyed, v.Erased, v.Tree.Size)},
		{label: w.hash, text: v.Hash, mono: true},
	}
	if l := c.Ledger; l != nil {
		log = append(log, row{label: w.ledger, text: fmt.Sprint(l.Entry)})
	}
	return []section{
		{w.about, who}, {w.dates, when}, {w.destroyed, w.destroyedRows(c.Destroyed)}, {w.kept, w.keptRows(c.Kept)},
		{w.residue, w.residueRows(v)}, {w.log, log},
	}
}

func (w *words) citation(g certificate.Ground) string {
	text := g.Citation
	if text == "" && g.Law == dataLaw {
		text = fmt.Sprintf(w.law, strings.Join(g.Articles, ", "))
	} else if text == "" {
		text = fmt.Sprintf(w.otherLaw, g.Law, strings.Join(g.Articles, ", "))
	}
	return w.grounds[g.Code] + ". " + text
}

// dataLaw is the law on personal data, which is set with its name.
const dataLaw = "94-V"

func (w *words) whole(s certificate.Scope) string {
	if s.Person {
		return w.person
	}
	return fmt.Sprintf(w.slices, list(s.Slices))
}

func (w *words) destroyedRows(d certificate.Destroyed) []row {
	var total certificate.Values
	parts := 0
	for _, s := range d.Slices {
		total.Add(s.Values)
		parts += s.Parts
	}
	rows := []row{{label: w.counts, text: fmt.Sprintf(w.byCategory,
		total.Identity, total.Contact, total.Address, total.Document, parts, total.Other, d.Tokens, d.IndexEntries)}}
	for i, s := range d.Slices {
		if i == most {
			rows = append(rows, row{text: fmt.Sprintf(w.more, len(d.Slices)-most)})
			break
		}
		rows = append(rows, row{label: fmt.Sprintf(w.key, s.Slice, s.Values.Total()), text: s.Key, mono: true})
	}
	return rows
}

func (w *words) keptRows(kept []certificate.Kept) []row {
	if len(kept) == 0 {
		return []row{{label: w.nothing}}
	}
	var rows []row
	for i, k := range kept {
		if i == most {
			return append(rows, row{text: fmt.Sprintf(w.more, len(kept)-most)})
		}
		what, until := k.Citation, w.noEnd
		if k.Citation == proofOfConsent {
			what = w.consent
		}
		if k.Count > 0 {
			what += fmt.Sprintf(" (%d)", k.Count)
		}
		if !k.Until.IsZero() {
			until = fmt.Sprintf(w.until, date(k.Until))
		}
		rows = append(rows, row{label: until, text: what})
	}
	return rows
}

// proofOfConsent is the citation of what the vault keeps by itself.
const proofOfConsent = "proof of consent"

func (w *words) residueRows(v *certificate.Verified) []row {
	r := v.Content.Residue
	keys := w.local
	if r.Keys.Provider == certificate.ProviderVault {
		keys = fmt.Sprintf(w.snapshots, r.Keys.SnapshotDays, date(r.Keys.Until))
	}
	index := w.noIndex
	if r.Index != nil && r.Index.DestroyedBy.IsZero() {
		index = fmt.Sprintf(w.epochOpen, r.Index.Epoch)
	} else if r.Index != nil {
		index = fmt.Sprintf(w.epoch, r.Index.Epoch, date(r.Index.DestroyedBy))
	}
	physical := w.pending
	if v.Removal != nil {
		physical = fmt.Sprintf(w.removed, clock(v.Removal.MeasuredAt))
	}
	return []row{{label: w.copies, text: keys}, {label: w.index, text: index}, {label: w.physical, text: physical}}
}

func list(all []string) string {
	if len(all) > most {
		return strings.Join(all[:most], ", ") + "…"
	}
	return strings.Join(all, ", ")
}
