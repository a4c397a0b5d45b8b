package vault

import (
	"context"
	"errors"

	"github.com/sandyq/sandyq/crypto/keyring"
	"github.com/sandyq/sandyq/crypto/kms"
	"github.com/sandyq/sandyq/vault/blob"
	"github.com/sandyq/sandyq/vault/fault"
	"github.com/sandyq/sandyq/vault/ledger"
	"github.com/sandyq/sandyq/vault/store"
)

// faults says what the caller is told of the failures of the parts.
var faults = []struct {
	cause  error
	code   fault.Code
	detail string
}{
	{kms.ErrUnavailable, fault.Unavailable, "the keys are out of reach for the moment"},
	{kms.ErrClaim, fault.Unavailable, "the keys do not belong to this store, or not any more"},
	{kms.ErrWithheld, fault.Unavailable, "the key provider is set not to use this key"},
	{keyring.ErrCopy, fault.Unavailable, "this store is a copy, not the live vault: it can be read and nothing else"},
	{keyring.ErrPurged, fault.Unavailable, "the person's state changed meanwhile: ask again"},
	{keyring.ErrMissing, fault.Unavailable, "a key is not where it should be"},
	{keyring.ErrPermit, fault.Unavailable, "this took too long: ask again"},
	{keyring.ErrClosed, fault.Unavailable, "the vault is shutting down"},
	{store.ErrNoSpace, fault.InsufficientStorage, "too little disk space is left for this"},
	{blob.ErrNoSpace, fault.InsufficientStorage, "too little disk space is left for this"},
	{blob.ErrUnavailable, fault.Unavailable, "the documents are out of reach for the moment"},
	{ledger.ErrUnavailable, fault.Unavailable, "the erasure ledger is out of reach for the moment"},
	{store.ErrTooLarge, fault.TooLarge, "this is too much for one change"},
	{store.ErrClosed, fault.Unavailable, "the store has stopped; what was asked may or may not have happened"},
	{store.ErrUnavailable, fault.Unavailable, "the store is out of reach for the moment; what was asked may or may not have happened"},
	{context.DeadlineExceeded, fault.Unavailable, "this took too long; it may or may not have happened"},
	{context.Canceled, fault.Unavailable, "the call was given up; it may or may not have happened"},
}

// edge gives a failure the code that its caller is told. Every operation's errors pass through it.
func edge(err error) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	for _, f := range faults {
		if errors.Is(err, f.cause) {
			return fault.Wrap(f.code, err, f.detail)
		}
	}
	return fault.From(err)
}
