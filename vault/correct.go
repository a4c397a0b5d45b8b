package vault

import (
	"bytes"
	"slices"

	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/token"
)

// correct brings one field to the values given. Values already held stay where they are (their spelling may be new), the
// others take the slots that are left over, in order, and then new ones; what is left over after that goes. A system
// corrects what it alone has tokens of; staff correct all.
func (w *writing) correct(i int) error {
	f, h := w.plan.item.fields[i], w.plan.heldIn(i)
	slots := make([]int, len(f.values)) // each value's slot; -1 for a new one
	left := w.correctable(f, h)
	for n := range f.values {
		slot, found, err := w.same(f, h, n)
		if err != nil {
			return err
		}
		if slots[n] = -1; found {
			slots[n] = int(slot)
			at := slices.IndexFunc(left, func(r record) bool { return r.slot == slot })
			if at < 0 {
				continue // another system's, or shared with one: the value is there already
			}
			if err := w.replace(f, h, left[at], n); err != nil {
				return err
			}
			left = slices.Delete(left, at, at+1)
		}
	}
	for n := range slots {
		if slots[n] < 0 && len(left) > 0 {
			slots[n] = int(left[0].slot)
			if err := w.replace(f, h, left[0], n); err != nil {
				return err
			}
			left = left[1:]
		}
	}
	for _, r := range append(left, w.shared(f, h, slots)...) {
		w.remove(f, &h, r)
	}
	return w.addRest(f, h, slots)
}

// correctable are the records that the caller may replace: a system's are those that it alone has tokens of.
func (w *writing) correctable(f fieldValues, h held) []record {
	if w.plan.call.Principal.VaultWide() {
		return slices.Clone(h.records)
	}
	var mine []record
	for _, r := range h.records {
		if h.tokens[r.slot] != "" && w.others(f, r.slot) == 0 {
			mine = append(mine, r)
		}
	}
	return mine
}

// shared are the records of which the caller has a token beside other systems, and which it no longer gives: its token goes
// and the record stays.
func (w *writing) shared(f fieldValues, h held, given []int) []record {
	if w.plan.call.Principal.VaultWide() {
		return nil
	}
	var rest []record
	for _, r := range h.records {
		if h.tokens[r.slot] != "" && w.others(f, r.slot) > 0 && !slices.Contains(given, int(r.slot)) {
			rest = append(rest, r)
		}
	}
	return rest
}

// others counts the other systems' tokens of a slot.
func (w *writing) others(f fieldValues, slot uint16) (n int) {
	ofSlot := append(name(f.Name), slotBytes(slot)...)
	for _, issued := range w.plan.issued {
		if system, of := w.rows.issuedParts(issued.Key); bytes.Equal(of, ofSlot) && system != w.plan.call.Principal.System {
			n++
		}
	}
	return n
}

// addRest adds the values that took no held slot, and gives all of them their tokens.
func (w *writing) addRest(f fieldValues, h held, slots []int) error {
	at := make([]uint16, len(slots))
	for n, slot := range slots {
		if slot >= 0 {
			at[n] = uint16(slot)
			continue
		}
		switch {
		case !f.Many && len(h.records) > 0:
			return conflict(f.Name, "other systems rely on this value: staff can correct it")
		case w.plan.adds != nil:
			return w.plan.adds
		case len(h.records) >= f.MaxValues:
			return fault.Bad(f.Name, tooMany(f.Field))
		}
		var err error
		if at[n], err = w.add(f, &h, n, f.values[n]); err != nil {
			return err
		}
	}
	return w.name(f, h, at)
}

// replace seals the n-th value over a record.
func (w *writing) replace(f fieldValues, h held, old record, n int) error {
	keyID, key, err := w.keys.key(w.plan, f.Slice)
	if err != nil {
		return err
	}
	row := &recordRow{Key: keyID, Version: w.row.Revision, Updated: w.now, Source: old.Source, ProvidedBy: old.ProvidedBy}
	if row.Sealed, err = w.sealValue(key, w.id, f.Name, old.slot, row.Version, f.values[n]); err != nil {
		return err
	}
	entered, isEntered := h.indexed[old.slot]
	stays := f.Searchable && isEntered && f.lookups[n].is(entered) && (entered.Value[0] == 1) == f.Unique
	if isEntered && !stays {
		w.unindex(w.change, entered, f.Name, old.slot)
	}
	if f.Searchable && !stays {
		w.index(f.lookups[n], f.Unique, old.slot)
	}
	w.set(w.rows.record(w.id, f.Name, old.slot), encodeRow(row))
	w.row.sealed(old.Key, string(f.Category), -1, 0)
	w.row.sealed(keyID, string(f.Category), 1, 0)
	return nil
}

// remove retires a value that is no longer given: the caller's token of it, or everybody's when staff ask; and the record
// once no system has a token of it.
func (w *writing) remove(f fieldValues, h *held, old record) {
	ofSlot := append(name(f.Name), slotBytes(old.slot)...)
	others := 0
	for _, issued := range w.plan.issued {
		system, of := w.rows.issuedParts(issued.Key)
		switch {
		case !bytes.Equal(of, ofSlot):
		case system == w.plan.call.Principal.System, w.plan.call.Principal.VaultWide():
			w.retire(w.change, token.Token(issued.Value), system, issued.Key)
		default:
			others++
		}
	}
	if others > 0 {
		return
	}
	if entered, ok := h.indexed[old.slot]; ok {
		w.unindex(w.change, entered, f.Name, old.slot)
	}
	w.delete(w.rows.record(w.id, f.Name, old.slot))
	w.row.Counts.Fields--
	w.row.sealed(old.Key, string(f.Category), -1, 0)
	h.records = slices.DeleteFunc(slices.Clone(h.records), func(r record) bool { return r.slot == old.slot })
	delete(h.tokens, old.slot)
}
