package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/fault"
)

func TestHandoffsAndRecipients(t *testing.T) {
	s := start(t, api.MaxDocument)
	crm, billing, admin := s.as(t, "crm", access.Application), s.as(t, "billing", access.Application), s.as(t, "console", access.Administrator)
	ctx := t.Context()
	made := register(t, crm)
	handoff, err := crm.CreateHandoff(ctx, &api.CreateHandoffRequest{Subject: made.Subject, ToSystem: "billing", Purpose: "contract", Fields: []string{"phone"}})
	if err != nil || handoff.ExpiresAt.Sub(clock.System()) < 5*time.Minute {
		t.Fatal(handoff, err)
	}
	if _, err := crm.RedeemHandoff(ctx, &api.RedeemHandoffRequest{Handoff: handoff.Handoff}); !errors.Is(err, fault.NotFound) {
		t.Errorf("the giver redeems it: %v", err)
	}
	got, err := billing.RedeemHandoff(ctx, &api.RedeemHandoffRequest{Handoff: handoff.Handoff})
	if err != nil || got.Subject == made.Subject || len(got.Tokens["phone"].Items) != 1 {
		t.Fatal(got, err)
	}

	title := api.Title{KK: "а", RU: "б", EN: "c"}
	if _, err := admin.PutPurpose(ctx, "delivery", &api.Purpose{
		Title: title, Basis: "consent", Fields: []string{"phone"}, Discloses: true, Retention: api.Retention{After: "relationship_end"},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.PutRecipient(ctx, "courier", &api.Recipient{Title: title, Country: "KZ", Purposes: []string{"delivery"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := billing.Reveal(ctx, got.Subject, &api.RevealRequest{Purpose: "delivery", Recipient: "courier", Reason: "parcel", Fields: []string{"phone"}}); err != nil {
		t.Fatal(err)
	}
	outside, err := billing.RecordTransfer(ctx, got.Subject, &api.RecordTransferRequest{
		Purpose: "delivery", Recipient: "courier", Reason: "parcel", Fields: []string{"phone"}, At: clock.System().Add(-time.Hour),
	})
	if err != nil || !outside.Outside {
		t.Fatal(outside, err)
	}
	first, err := billing.SubjectRecipients(ctx, got.Subject, 1, "")
	if err != nil || len(first.Transfers) != 1 || first.NextCursor == "" || len(first.Systems) != 1 || first.Systems[0].Tokens != 1 {
		t.Fatal(first, err)
	}
	second, err := billing.SubjectRecipients(ctx, got.Subject, 1, first.NextCursor)
	if err != nil || len(second.Transfers) != 1 || second.NextCursor != "" || second.Transfers[0].Transfer != outside.Transfer {
		t.Fatal(second, err)
	}
}
