package purpose_test

import (
	"testing"

	"github.com/sandyq/sandyq/vault/purpose"
)

func TestDefault(t *testing.T) {
	if got := len(purpose.Default().All()); got != 10 {
		t.Errorf("%d purposes", got)
	}
}
