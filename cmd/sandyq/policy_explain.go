package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/access/cedar"
	"github.com/sandyq/sandyq/vault/clock"
)

// policyQuestion is what the flags of policy explain ask.
type policyQuestion struct {
	source                  policySource
	principal, action, form string
	roles, behalfRoles      []string
	network, at             string
	request                 access.Request
}

func newPolicyExplainCmd(e *env) *cobra.Command {
	var q policyQuestion
	cmd := &cobra.Command{
		Use:   "explain --principal KIND:NAME --role ROLE --action ACTION",
		Short: "Say what policies decide, which, and why",
		Long: `Explain decides one request by the policies and names those that decided. It asks the policies alone: what law forbids (the
state of a person, the purpose, whose the person is) is refused whatever they say. Without --field an action on data is
decided for every field that the policies can tell apart.`,
		Example: `  sandyq policy explain --principal staff:aigerim --role support --action detokenize --field phone --form masked
  sandyq policy explain --principal system:crm --role application --action search --policies /etc/sandyq/policies --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return q.run(e) },
	}
	f, r := cmd.Flags(), &q.request
	f.StringVar(&q.source.dir, "policies", "", "folder of policies (default: of the configuration, or the built-in ones)")
	f.StringVar(&q.source.config.file, "config", "", "configuration file (default: none; the built-in settings)")
	f.StringVar(&q.principal, "principal", "", "who asks: staff:NAME or system:NAME")
	f.StringSliceVar(&q.roles, "role", nil, "a role it has; may be repeated")
	f.StringVar(&r.Principal.Department, "department", "", "of one of the staff")
	f.BoolVar(&r.Principal.Strong, "strong", false, "it proved itself by more than one factor")
	f.StringVar(&q.network, "network", "", "address it asks from (default: not known)")
	f.StringVar(&q.action, "action", "", "what it asks for, such as detokenize")
	f.StringSliceVar(&r.Fields, "field", nil, "a field concerned, such as iin or documents; may be repeated")
	f.StringVar(&q.form, "form", "", "in which values are asked for: plain or masked")
	f.StringVar(&r.Purpose, "purpose", "", "what for")
	f.StringVar(&r.Reason, "reason", "", "why, as the caller says")
	f.StringVar(&r.State, "state", "", "of the person: active, blocked, erasing, erased")
	f.StringVar(&r.Basis, "basis", "", "what the purpose rests on: consent, law, …, none")
	f.StringVar(&r.Recipient, "recipient", "", "to whom it is disclosed")
	f.IntVar(&r.Count, "count", 0, "how many values are asked for")
	f.IntVar(&r.Approvals, "approvals", 0, "how many others have approved")
	f.BoolVar(&r.BreakGlass, "break-glass", false, "it has declared an emergency")
	f.StringVar(&r.Behalf.Actor, "on-behalf-of", "", "who stands behind it")
	f.StringSliceVar(&q.behalfRoles, "behalf-role", nil, "a role of who stands behind it, proved by a token; may be repeated")
	f.StringVar(&r.Behalf.Department, "behalf-department", "", "of who stands behind it")
	f.StringVar(&q.at, "at", "", "when, in RFC 3339 (default: now)")
	return requiring(cmd, "principal", "role", "action")
}

func (q *policyQuestion) run(e *env) error {
	if err := q.read(); err != nil {
		return err
	}
	o := cedar.Options{Now: clock.System}
	if q.at != "" {
		at, err := time.Parse(time.RFC3339, q.at)
		if err != nil {
			return usagef("--at is a time such as 2026-11-22T09:30:00+05:00")
		}
		o.Now = func() time.Time { return at }
	}
	engine, _, err := q.source.compile(o)
	if err != nil {
		return err
	}
	x := engine.Explain(q.request)
	return e.answerTable(x, func(t table) { explain(t, x) })
}

// read makes the request that the flags ask about.
func (q *policyQuestion) read() (err error) {
	r := &q.request
	kind, name, _ := strings.Cut(q.principal, ":")
	r.Principal.System = name
	if r.Principal.Roles, err = parseRoles("role", q.roles); err != nil {
		return err
	}
	if kind != "staff" && kind != "system" || name == "" || (kind == "staff") != r.Principal.VaultWide() {
		return usagef("--principal is staff:NAME or system:NAME, and a system is whoever has --role application")
	}
	if r.Action = access.Action(q.action); r.Action.On() == "" {
		return usagef("--action is one of %s", joined(access.Actions()))
	}
	if r.Form = access.Form(q.form); !slices.Contains([]access.Form{"", access.Plain, access.Masked}, r.Form) {
		return usagef("--form is plain or masked")
	}
	if q.network != "" {
		if r.Principal.Network, err = netip.ParseAddr(q.network); err != nil {
			return usagef("--network is an address such as 10.0.0.1")
		}
	}
	if r.Behalf.Roles, err = parseRoles("behalf-role", q.behalfRoles); err != nil {
		return err
	}
	if r.Behalf.Verified = len(r.Behalf.Roles) > 0; r.Behalf.Verified && r.Behalf.Actor == "" {
		return usagef("--behalf-role is of somebody: add --on-behalf-of")
	}
	return nil
}

func parseRoles(flag string, names []string) ([]access.Role, error) {
	roles := make([]access.Role, len(names))
	for i, name := range names {
		role, err := access.ParseRole(name)
		if err != nil {
			return nil, usagef("--%s is one of %s", flag, joined(access.Roles()))
		}
		roles[i] = role
	}
	return roles, nil
}

func joined[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, one := range all {
		names[i] = string(one)
	}
	return strings.Join(names, ", ")
}

// explain writes a decision to people: the whole, and of each part the policies that made it so.
func explain(t table, x cedar.Explanation) {
	if len(x.Parts) != 1 {
		t.row(strings.TrimSpace(decided(x.Allowed) + " " + x.Because))
	}
	for _, part := range x.Parts {
		what := []string{decided(part.Allowed), part.Category, part.Field}
		if part.Failure != "" {
			t.row(append(what, part.Failure)...)
		}
		if part.Failure == "" && len(part.Policies) == 0 {
			t.row(append(what, "no policy permits it")...)
		}
		for _, p := range part.Policies {
			t.row(append(what, string(p.Effect), p.ID, fmt.Sprintf("%s:%d", p.File, p.Line), p.Annotations["why"])...)
		}
	}
}

func decided(allowed bool) string {
	if allowed {
		return "allow"
	}
	return "deny"
}
