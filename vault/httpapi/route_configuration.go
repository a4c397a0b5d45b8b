package httpapi

import (
	"context"
	"net/http"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
)

// Configuration is what staff configure over the API, and the changes of it that wait, or waited, for approvals.
type Configuration interface {
	Purposes(context.Context, vault.Call) (*api.Page[api.Purpose], error)
	Purpose(ctx context.Context, call vault.Call, name string) (*api.Purpose, error)
	PurposeVersions(ctx context.Context, call vault.Call, name string) (*api.Page[api.Purpose], error)
	PutPurpose(ctx context.Context, call vault.Call, name string, in *api.Purpose) (*api.Change, error)

	Recipients(context.Context, vault.Call) (*api.Page[api.Recipient], error)
	Recipient(ctx context.Context, call vault.Call, name string) (*api.Recipient, error)
	PutRecipient(ctx context.Context, call vault.Call, name string, in *api.Recipient) (*api.Change, error)

	Systems(context.Context, vault.Call) (*api.Page[api.System], error)
	System(ctx context.Context, call vault.Call, name string) (*api.System, error)
	PutSystem(ctx context.Context, call vault.Call, name string, in *api.System) (*api.Change, error)

	Policies(context.Context, vault.Call) (*api.Policies, error)
	PutPolicies(ctx context.Context, call vault.Call, in *api.Policies) (*api.Change, error)

	Change(ctx context.Context, call vault.Call, change string) (*api.Change, error)
	ApproveChange(ctx context.Context, call vault.Call, change string, in *api.ApproveChangeRequest) (*api.Change, error)
	CancelChange(ctx context.Context, call vault.Call, change string) (*api.Change, error)
}

// The operations of the configuration that are no action of access's vocabulary: each is decided as a reading of the
// configuration, or as a change of it.
const (
	opPurposes        = "purposes.list"
	opPurpose         = "purpose.show"
	opPurposeVersions = "purpose.versions"
	opRecipients      = "recipient.list"
	opRecipient       = "recipient.show"
	opPutRecipient    = "recipient.change"
	opSystems         = "system.list"
	opSystem          = "system.show"
	opPutSystem       = "system.change"
	opPolicies        = "policies.show"
	opPutPolicies     = "policies.change"
	opShowChange      = "configuration.show"
)

func configurationRoutes() []Route {
	const (
		get, post, put = http.MethodGet, http.MethodPost, http.MethodPut
		ok             = http.StatusOK
	)
	read := func(pattern string, op access.Action, s shape) Route {
		return route(get, pattern, op, ok, false, false, s)
	}
	change := func(pattern string, op access.Action, s shape) Route {
		r := route(put, pattern, op, ok, false, false, s)
		r.Waits = true
		return r
	}
	return []Route{
		read("/v1/purposes", opPurposes, plain(Service.Purposes)),
		read("/v1/purposes/{name}", opPurpose, about("name", Service.Purpose)),
		read("/v1/purposes/{name}/versions", opPurposeVersions, about("name", Service.PurposeVersions)),
		change("/v1/purposes/{name}", access.ChangePurpose, bodyAbout("name", Service.PutPurpose)),

		read("/v1/recipients", opRecipients, plain(Service.Recipients)),
		read("/v1/recipients/{name}", opRecipient, about("name", Service.Recipient)),
		change("/v1/recipients/{name}", opPutRecipient, bodyAbout("name", Service.PutRecipient)),

		read("/v1/systems", opSystems, plain(Service.Systems)),
		read("/v1/systems/{name}", opSystem, about("name", Service.System)),
		change("/v1/systems/{name}", opPutSystem, bodyAbout("name", Service.PutSystem)),

		read("/v1/policies", opPolicies, plain(Service.Policies)),
		change("/v1/policies", opPutPolicies, body(Service.PutPolicies)),

		read("/v1/changes/{change}", opShowChange, about("change", Service.Change)),
		route(post, "/v1/changes/{change}/approve", access.DecideChange, ok, true, false, mayBodyAbout("change", Service.ApproveChange)),
		route(post, "/v1/changes/{change}/cancel", access.CancelChange, ok, true, false, about("change", Service.CancelChange)),
	}
}
