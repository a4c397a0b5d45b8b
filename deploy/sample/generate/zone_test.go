package main

import (
	"testing"

	"github.com/sandyq/sandyq/deploy/sample/crowd"
	"github.com/sandyq/sandyq/vault/mrz"
)

func TestZonesOfTheHolders(t *testing.T) {
	holders, err := drawHolders(crowd.New(seed))
	if err != nil {
		t.Fatal(err)
	}
	for i := range holders {
		h := &holders[i]
		for _, test := range []struct {
			format                         mrz.Format
			code, issuer, number, optional string
		}{
			{mrz.TD1, identityCard.code, "KAZ", h.DocumentNumber, h.IIN},
			{mrz.TD3, "P", "KAZ", h.passport, h.IIN},
			{mrz.TD3, "P", "UTO", h.passport, ""}, // another country does not print the IIN
		} {
			lines, err := h.zone(test.format, test.code, test.issuer, test.number)
			if err != nil {
				t.Fatal(err)
			}
			d, _, err := mrz.Read(lines)
			if err != nil || d.Number != test.number || d.Optional != test.optional || d.Nationality != h.code || d.Birth != h.birth.Format("060102") {
				t.Errorf("holder %d: read %+v, %v", i+1, d, err)
			}
		}
	}
}
