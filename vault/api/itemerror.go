package api

import "github.com/sandyq/sandyq/vault/fault"

// Err returns the item's failure as a *fault.Error, so that errors.Is(item.Error.Err(), fault.Blocked) holds; nil for nil.
func (e *ItemError) Err() error {
	if e == nil {
		return nil
	}
	return &fault.Error{Code: e.Code, Detail: e.Detail, Fields: e.Errors}
}
