package vault

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/purpose"
)

var (
	codePattern  = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)
	numberInCode = regexp.MustCompile(`[0-9]{9}`) // a document's number, a phone, an IIN: codes go into the log and stay there
	actorPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	refPattern   = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?$`)
)

const (
	ruleCode     = "1 to 40 of a–z, 0–9 and _, no run of 9 digits"
	ruleActor    = "1 to 64 of A–Z, a–z, 0–9, dot, hyphen and _, no run of 9 digits"
	ruleRef      = "1 to 128 printable ASCII characters, no space at the ends"
	ruleUnknown  = "unknown"
	ruleRequired = "required"
	rulePurpose  = "outside the purpose"
)

// purposeNamed finds the purpose that a request must name. One that is not the caller's to name is refused, and that is
// recorded like every other refusal. Staff name every purpose: the policies bind them.
func (s *Service) purposeNamed(ctx context.Context, call Call, a access.Action, n string) (*purpose.Purpose, error) {
	if n == "" {
		return nil, fault.Bad("purpose", ruleRequired)
	}
	p, ok := call.rules.purposes.Get(n)
	if !ok {
		return nil, fault.Bad("purpose", ruleUnknown)
	}
	rule := ""
	switch {
	case p.Retired:
		rule = "retired"
	case !call.Principal.VaultWide() && !call.rules.mayName(call.Principal.System, p):
		rule = "not among the purposes of this system"
	default:
		return p, nil
	}
	if err := s.current(); err != nil {
		return nil, err
	}
	return nil, s.refuse(ctx, call, access.Request{Action: a, Purpose: n}, &fault.Error{
		Code: fault.Denied, Detail: "the purpose may not be named here", Fields: []fault.Field{{Field: "purpose", Rule: rule}},
	})
}

func isCode(s string) bool { return codePattern.MatchString(s) && !numberInCode.MatchString(s) }

func checkCode(field, code string) error {
	if !isCode(code) {
		return fault.Bad(field, ruleCode)
	}
	return nil
}

func checkOneOf(field, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fault.Bad(field, fmt.Sprintf("one of %q", allowed))
}

// behalf tells who stands behind the caller: as it says, or as a token proves.
func (s *Service) behalf(ctx context.Context, a *api.Actor) (access.Behalf, error) {
	switch {
	case a == nil:
		return access.Behalf{}, nil
	case a.Token != "":
		return s.proved(ctx, a)
	case !actorPattern.MatchString(a.Actor), numberInCode.MatchString(a.Actor):
		return access.Behalf{}, fault.Bad("on_behalf_of.actor", ruleActor)
	default:
		return access.Behalf{Actor: a.Actor}, nil
	}
}

// proved is whom a token of an issuer names. What the system says beside it must be the same.
func (s *Service) proved(ctx context.Context, a *api.Actor) (access.Behalf, error) {
	if s.Agents == nil {
		return access.Behalf{}, fault.Bad("on_behalf_of.token", "not accepted: no issuer is configured to verify it")
	}
	who, err := s.Agents.Behalf(ctx, a.Token)
	switch {
	case errors.Is(err, fault.Unauthenticated):
		return access.Behalf{}, fault.Bad("on_behalf_of.token", "not a valid token of an issuer that is accepted here")
	case err != nil:
		return access.Behalf{}, err
	case a.Actor != "" && a.Actor != who.Actor:
		return access.Behalf{}, fault.Bad("on_behalf_of.actor", "not whom the token names")
	}
	who.Verified = true
	return who, nil
}

func checkItems(field string, n int) error {
	switch {
	case n == 0:
		return fault.Bad(field, "at least 1")
	case n > api.MaxItems:
		return fault.Bad(field, fmt.Sprintf("at most %d", api.MaxItems))
	}
	return nil
}

func checkNote(note string) error {
	if len(note) > api.MaxNote {
		return fault.Bad("note", fmt.Sprintf("at most %d bytes", api.MaxNote))
	}
	return nil
}

// reading checks what every reading must say, and makes the request to the gate of it.
func (s *Service) reading(ctx context.Context, call Call, a access.Action, purposeName, reason string, form api.Form, actor *api.Actor) (access.Request, *purpose.Purpose, error) {
	r := access.Request{Action: a, Purpose: purposeName, Reason: reason, Form: access.Form(form)}
	p, err := s.purposeNamed(ctx, call, a, purposeName)
	if err != nil {
		return r, nil, err
	}
	if err := checkCode("reason", reason); err != nil {
		return r, nil, err
	}
	r.Behalf, err = s.behalf(ctx, actor)
	return r, p, err
}

// formOf reads the form that a reading asks for; plain unless said.
func formOf(f api.Form) (api.Form, error) {
	switch f {
	case "", api.Plain:
		return api.Plain, nil
	case api.Masked, api.Allowed:
		return f, nil
	default:
		return "", fault.Bad("form", `one of ["plain" "masked" "allowed"]`)
	}
}

// itemError is how an item of a batch tells a failure.
func itemError(err error) *api.ItemError {
	f := fault.From(edge(err))
	return &api.ItemError{Code: f.Code, Detail: f.Detail, Errors: f.Fields}
}
