package main

import (
	"strings"
	"testing"

	"github.com/sandyq/sandyq/vault/api"
)

func TestEmergenciesThroughTheCommands(t *testing.T) {
	administrator, _, staff := desks(t)
	b := answer[api.BreakGlass](t, staff, exitDone, "", "break-glass", "start", "--purpose", "service", "--reason", "accident", "--for", "10m")
	if b.ReviewsNeeded != 1 || b.ExpiresAt.Sub(b.StartedAt).Minutes() != 10 {
		t.Errorf("%+v", b)
	}
	waits := answer[api.Page[api.Waiting]](t, staff, exitDone, "", "approvals").Items
	if len(waits) != 1 || waits[0].ID != b.BreakGlass || waits[0].Kind != api.WaitingBreakGlass {
		t.Errorf("%+v", waits)
	}
	answer[api.BreakGlass](t, staff, exitDone, "", "break-glass", "end", b.BreakGlass)
	if r := administrator.run(t, "", "break-glass", "list"); r.code != exitDone || !strings.Contains(r.out, b.BreakGlass) {
		t.Errorf("%+v", r)
	}
	if r := staff.run(t, "", "break-glass", "review", b.BreakGlass, "--outcome", "justified"); r.code != exitFailed {
		t.Errorf("staff review their own: %+v", r)
	}
	if r := staff.run(t, "", "break-glass", "start", "--purpose", "service", "--reason", "accident", "--for", "90s"); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
}
