package hashicorp

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/sandyq/sandyq/crypto/kms"
)

// indexKeyVersion pins the version of the index key: after a rotation in Vault the same input must have the same MAC.
const indexKeyVersion = 1

// macInput is one of a batch for Transit's hmac.
type macInput struct {
	Input []byte `json:"input"`
}

// MAC implements [kms.MACer] with Transit's hmac.
func (v *Vault) MAC(ctx context.Context, inputs ...[]byte) ([][]byte, error) {
	ctx, end, err := v.beginShed(ctx)
	if err != nil {
		return nil, fmt.Errorf("hashicorp: MAC: %w", err)
	}
	defer end()
	sums := make([][]byte, len(inputs))
	err = v.serve.chunks(ctx, len(inputs), macChunk, func(ctx context.Context, from, to int) error {
		return v.macBatch(ctx, inputs[from:to], sums[from:to])
	})
	if err != nil {
		return nil, fmt.Errorf("hashicorp: MAC: %w", err)
	}
	return sums, nil
}

func (v *Vault) macBatch(ctx context.Context, inputs, sums [][]byte) error {
	items := make([]macInput, len(inputs))
	for i, input := range inputs {
		items[i].Input = input
	}
	var answer struct {
		Data struct {
			Results []struct {
				HMAC string `json:"hmac"`
			} `json:"batch_results"`
		} `json:"data"`
	}
	body := map[string]any{"batch_input": items, "key_version": indexKeyVersion}
	if err := v.serve.do(ctx, request{method: http.MethodPut, path: v.names.hmac(), body: body}, &answer); err != nil {
		return err
	}
	if len(answer.Data.Results) != len(inputs) {
		return fmt.Errorf("%w: %d answers to a batch of %d", kms.ErrUnavailable, len(answer.Data.Results), len(inputs))
	}
	for i, result := range answer.Data.Results {
		var err error
		if sums[i], err = parseMAC(result.HMAC); err != nil {
			return err
		}
	}
	return nil
}

// parseMAC reads vault:v1:<base64> and refuses what is not a MAC of the pinned version.
func parseMAC(s string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(s, fmt.Sprintf("vault:v%d:", indexKeyVersion))
	sum, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(sum) != kms.MACSize {
		return nil, fmt.Errorf("%w: Transit answers no MAC of version %d", kms.ErrUnavailable, indexKeyVersion)
	}
	return sum, nil
}
