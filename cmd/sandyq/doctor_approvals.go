package main

import (
	"context"
	"fmt"

	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/clock"
	"github.com/sandyq/sandyq/vault/store"
)

// checkApprovers sees that nothing waits for the word of somebody whom there is not: a sole privacy officer's wishes, say.
func checkApprovers(ctx context.Context, found *findings, s store.Store, c, of config) {
	if len(of.Auth.Issuers) > 0 {
		found.judge("approvals", nil, "whether there are others to approve only the issuers know"+forTenant(c, of), "")
		return
	}
	short, err := vault.Shortages(ctx, of.Tenant, s, of.approvals(), clock.System())
	errs := []error{ofTenant(c, of, err)}
	for _, one := range short {
		errs = append(errs, ofTenant(c, of, fmt.Errorf("approvals.%s: %d others have to agree, and service tokens are of %d people in all who count: what one of them asks for can never be agreed to",
			one.Approval, one.Needed, one.Identities)))
	}
	found.judgeAll("approvals", errs, "for each role that approves there are enough others, or nobody yet"+forTenant(c, of),
		"have an administrator make a token for somebody else of the role, log staff in through an issuer (auth.issuers), or need fewer")
}
