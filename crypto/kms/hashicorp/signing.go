package hashicorp

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sandyq/sandyq/crypto/kms"
)

// publicKey is one version of an asymmetric key, as Transit tells it.
type publicKey struct {
	Public []byte `json:"public_key"`
}

// signingKeys is what Transit says of log-<tenant>.
type signingKeys struct {
	Newest int                  `json:"latest_version"`
	Keys   map[string]publicKey `json:"keys"` // by version, in decimal
}

// inOrder refuses what has gaps: archived versions (min_decryption_version) are not told.
func (k signingKeys) inOrder() ([]ed25519.PublicKey, error) {
	if k.Newest < 1 || len(k.Keys) != k.Newest {
		return nil, fmt.Errorf("%w: Transit tells %d of %d versions of the signing key", kms.ErrCorrupt, len(k.Keys), k.Newest)
	}
	public := make([]ed25519.PublicKey, k.Newest)
	for i := range public {
		public[i] = k.Keys[strconv.Itoa(i+1)].Public
		if len(public[i]) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: version %d of the signing key", kms.ErrCorrupt, i+1)
		}
	}
	return public, nil
}

// PublicKeys implements [kms.Signer].
func (v *Vault) PublicKeys(ctx context.Context) (public []ed25519.PublicKey, err error) {
	err = v.ask(ctx, v.serve, func(ctx context.Context) error {
		public, err = v.serve.publicKeys(ctx, v.names)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hashicorp: read public keys: %w", err)
	}
	return public, nil
}

func (c *conn) publicKeys(ctx context.Context, n names) ([]ed25519.PublicKey, error) {
	var answer struct {
		Data signingKeys `json:"data"`
	}
	if err := c.do(ctx, request{method: http.MethodGet, path: n.signing()}, &answer); err != nil {
		return nil, notSetUp(err)
	}
	return answer.Data.inOrder()
}

// SignAs implements [kms.Signer] with Transit's sign. An Ed25519 signature is the same each time, so the request may be
// repeated.
func (v *Vault) SignAs(ctx context.Context, version int, message []byte) (signature []byte, err error) {
	err = v.ask(ctx, v.serve, func(ctx context.Context) error {
		if version < 1 { // Transit takes 0 for the newest
			return fmt.Errorf("%w: %d", kms.ErrVersion, version)
		}
		signature, err = v.serve.sign(ctx, v.names, version, message)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("hashicorp: sign: %w", err)
	}
	return signature, nil
}

func (c *conn) sign(ctx context.Context, n names, version int, message []byte) ([]byte, error) {
	var answer struct {
		Data struct {
			Signature string `json:"signature"`
		} `json:"data"`
	}
	body := map[string]any{"input": message, "key_version": version}
	err := c.do(ctx, request{method: http.MethodPut, path: n.sign(), body: body}, &answer)
	if err == nil {
		return parseSignature(answer.Data.Signature, version)
	}
	// Transit answers 500 when it has no such version, as a server in trouble does; the public keys tell which it is.
	if public, keysErr := c.publicKeys(ctx, n); keysErr == nil && version > len(public) {
		return nil, fmt.Errorf("%w: %d of %d", kms.ErrVersion, version, len(public))
	}
	return nil, notSetUp(err)
}

// parseSignature reads vault:v<version>:<base64> and refuses what is no signature of this version.
func parseSignature(s string, version int) ([]byte, error) {
	encoded, ok := strings.CutPrefix(s, fmt.Sprintf("vault:v%d:", version))
	signature, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("%w: Transit answers no signature of version %d", kms.ErrUnavailable, version)
	}
	return signature, nil
}

// RotateSigning implements [kms.Signer]. It takes the identity that destroys: one that serves cannot change who signs.
// Vault rotates and answers under one lock, so that the newest version of the answer is this call's.
func (v *Vault) RotateSigning(ctx context.Context) (version int, err error) {
	err = v.ask(ctx, v.erase, func(ctx context.Context) error {
		var answer struct {
			Data signingKeys `json:"data"`
		}
		rotate := request{method: http.MethodPut, path: v.names.rotate(), body: struct{}{}, once: true}
		if err := v.erase.do(ctx, rotate, &answer); err != nil {
			return notSetUp(err)
		}
		if answer.Data.Newest < 2 {
			return fmt.Errorf("%w: Transit answers no new version of the signing key", kms.ErrUnavailable)
		}
		version = answer.Data.Newest
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("hashicorp: rotate signing key: %w", err)
	}
	return version, nil
}

// notSetUp says what to do about a server that was set up before it was asked for this.
func notSetUp(err error) error {
	if errors.Is(err, errDenied) || errors.Is(err, errAbsent) {
		return fmt.Errorf("%w; sandyq keys setup brings the server up to date", err)
	}
	return err
}
