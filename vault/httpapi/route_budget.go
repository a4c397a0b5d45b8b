package httpapi

import (
	"context"
	"net/http"
	"strconv"

	"github.com/sandyq/sandyq/access"
	"github.com/sandyq/sandyq/vault"
	"github.com/sandyq/sandyq/vault/api"
	"github.com/sandyq/sandyq/vault/fault"
)

// Budgets tells how much is read and searched, and how much may be.
type Budgets interface {
	BudgetUse(ctx context.Context, call vault.Call, days int, headroom float64) (*api.Budgets, error)
}

func budgetRoutes() []Route {
	s := bodiless(budgetUse)
	s.query = []string{"days", "headroom"}
	return []Route{route(http.MethodGet, "/v1/access/budgets", access.ReadBudgets, http.StatusOK, false, false, s)}
}

// What a request that says nothing is answered for.
const (
	defaultBudgetDays     = 14
	defaultBudgetHeadroom = 2
)

func budgetUse(x *exchange, call vault.Call) (*api.Budgets, error) {
	days, headroom := defaultBudgetDays, float64(defaultBudgetHeadroom)
	var err error
	if text := x.query.text("days"); text != "" {
		if days, err = strconv.Atoi(text); err != nil {
			return nil, fault.Bad("days", "a number")
		}
	}
	if text := x.query.text("headroom"); text != "" {
		if headroom, err = strconv.ParseFloat(text, 64); err != nil {
			return nil, fault.Bad("headroom", "a number")
		}
	}
	return x.service.BudgetUse(x.r.Context(), call, days, headroom)
}
