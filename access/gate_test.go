package access_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/fault"
)

// deciding makes a Decider of a function.
type deciding func(access.Request) (access.Decision, error)

func (f deciding) Decide(_ context.Context, r access.Request) (access.Decision, error) { return f(r) }

func allowing(access.Request) (access.Decision, error) { return access.Allow("test"), nil }

// all makes every decision durable.
func all([]access.Decision) ([]bool, error) { return nil, nil }

func TestTheZeroValueDenies(t *testing.T) {
	for name, d := range map[string]access.Decision{
		"no gate":           (*access.Gate)(nil).Decide(t.Context(), access.Request{}),
		"the zero gate":     new(access.Gate).Decide(t.Context(), access.Request{}),
		"a gate of nobody":  access.NewGate(nil).Decide(t.Context(), access.Request{}),
		"the zero decision": {},
		"no reason given":   access.Deny(nil),
		"the zero decider":  access.NewGate(deciding(func(access.Request) (d access.Decision, err error) { return d, err })).Decide(t.Context(), access.Request{}),
	} {
		if d.Allowed() || !errors.Is(d.Err(), fault.Denied) {
			t.Errorf("%s: allowed %t, error %v", name, d.Allowed(), d.Err())
		}
	}
	for _, a := range append(access.Actions(), "") {
		if new(access.Grant).Permits(a, "") {
			t.Errorf("the zero grant permits %q", a)
		}
	}
	grants, err := new(access.Gate).Enter(t.Context(), []access.Request{{Action: access.Reveal, Subject: "s"}}, all)
	if err != nil || len(grants) != 1 || grants[0].Permits(access.Reveal, "s") {
		t.Errorf("the zero gate lets in: %v, %v", grants, err)
	}
}

// TestARefusalIsFinal: what law forbids no decider is asked about.
func TestARefusalIsFinal(t *testing.T) {
	gate := access.NewGate(deciding(func(access.Request) (access.Decision, error) {
		t.Error("the decider was asked")
		return access.Allow(), nil
	}))
	d := gate.Decide(t.Context(), access.Request{Refusal: fault.New(fault.Blocked, "")})
	if d.Allowed() || !errors.Is(d.Err(), fault.Blocked) || !slices.Equal(d.Policies, []string{"rule:blocked"}) {
		t.Errorf("%v by %v", d.Err(), d.Policies)
	}
}

// TestAnErrorDenies, whatever the decision beside it, and its cause is not for the caller.
func TestAnErrorDenies(t *testing.T) {
	cause := errors.New("the policy does not load")
	gate := access.NewGate(deciding(func(access.Request) (access.Decision, error) { return access.Allow(), cause }))
	d := gate.Decide(t.Context(), access.Request{Action: access.Reveal})
	if d.Allowed() || !errors.Is(d.Err(), fault.Denied) || !errors.Is(d.Err(), cause) {
		t.Errorf("%v", d.Err())
	}
	if told := fault.From(d.Err()); strings.Contains(told.Detail, cause.Error()) {
		t.Errorf("the caller is told %q", told.Detail)
	}
}

// TestEnter: a grant is of what was permitted, and of what was made durable, and of nothing else.
func TestEnter(t *testing.T) {
	gate := access.NewGate(deciding(func(r access.Request) (access.Decision, error) {
		if r.Purpose == "refused" {
			return access.Decision{}, nil
		}
		return access.Allow("test"), nil
	}))
	requests := []access.Request{
		{Action: access.Reveal, Subject: "a"},
		{Action: access.Reveal, Subject: "b", Purpose: "refused"},
		{Action: access.Detokenize, Subject: "c"},
		{Action: access.Reveal, Subject: "d", Refusal: fault.New(fault.Erased, "")},
	}
	for name, test := range map[string]struct {
		durable []bool
		want    []bool
	}{
		"all durable":  {nil, []bool{true, false, true, false}},
		"all named":    {[]bool{true, true, true, true}, []bool{true, false, true, false}},
		"one stale":    {[]bool{false, true, true, true}, []bool{false, false, true, false}},
		"none durable": {make([]bool, 4), make([]bool, 4)},
	} {
		grants, err := gate.Enter(t.Context(), requests, func(decisions []access.Decision) ([]bool, error) {
			var allowed []bool
			for _, d := range decisions {
				allowed = append(allowed, d.Allowed())
			}
			if !slices.Equal(allowed, []bool{true, false, true, false}) {
				t.Errorf("%s: %v are to be made durable", name, allowed)
			}
			return test.durable, nil
		})
		if err != nil || len(grants) != len(requests) {
			t.Fatalf("%s: %v, %v", name, grants, err)
		}
		for i, g := range grants {
			for j, r := range requests {
				if got := g.Permits(r.Action, r.Subject); got != (i == j && test.want[i]) {
					t.Errorf("%s: grant %d permits request %d: %t", name, i, j, got)
				}
			}
			if g.Permits(access.Rectify, requests[i].Subject) || g.Permits(requests[i].Action, "") {
				t.Errorf("%s: grant %d permits another action, or about nobody", name, i)
			}
		}
	}
}

// TestEnterWithoutCommit: what could not be recorded gives no grants, and the error is the commit's.
func TestEnterWithoutCommit(t *testing.T) {
	failure := errors.New("the disk is full")
	grants, err := access.NewGate(deciding(allowing)).Enter(t.Context(), []access.Request{{Action: access.Reveal}},
		func([]access.Decision) ([]bool, error) { return []bool{true}, failure })
	if grants != nil || !errors.Is(err, failure) {
		t.Errorf("%v, %v", grants, err)
	}
}
