package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/sandyq/sandyq/metrics"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/witness"
	"github.com/sandyq/sandyq/vault/clock"
)

// witnessConfig names a witness of the transparency log.
type witnessConfig struct {
	URL string `yaml:"url"` // what comes before /add-checkpoint: https, or http to this machine's loopback
	Key string `yaml:"key"` // the witness's vkey, of type 4
}

// witnesses are those of the configuration.
func (a auditConfig) witnesses() ([]witness.Witness, error) {
	all := make([]witness.Witness, len(a.Witnesses))
	for i, w := range a.Witnesses {
		key, err := checkpoint.ParseCosigner(w.Key)
		if err != nil {
			return nil, settingError{"audit.witnesses", fmt.Sprintf("number %d: key: %v", i+1, err)}
		}
		all[i] = witness.Witness{URL: w.URL, Key: key}
	}
	return all, nil
}

// checkWitnesses refuses what cannot work. It asks nobody.
func (a auditConfig) checkWitnesses() error {
	all, err := a.witnesses()
	if err != nil {
		return err
	}
	if err := witness.Check(all); err != nil {
		return settingError{"audit.witnesses", err.Error()}
	}
	if a.Quorum < 0 || a.Quorum > len(all) {
		return settingError{"audit.quorum", "is 0 to the number of audit.witnesses"}
	}
	return nil
}

// circle begins to ask the witnesses of a tenant's log; nil when there are none. Whoever gets it closes it.
func (a auditConfig) circle(log *slog.Logger, observed *metrics.Vault) (*witness.Circle, error) {
	all, err := a.witnesses()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return witness.New(all, witness.Options{Clock: clock.System, Log: log, Observe: observed.Asked})
}

// witnessed is what somebody who verifies demands of the cosignatures of a checkpoint.
type witnessed struct {
	keys   []string
	quorum int
}

// flags adds the flags of a command that verifies.
func (w *witnessed) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&w.keys, "witness", nil, "vkey of a witness whose cosignature counts; may be repeated")
	cmd.Flags().IntVar(&w.quorum, "quorum", 0, "how many of the witnesses must have cosigned (default: all that are named)")
}

// cosigners are the witnesses that are named, and how many of them must have cosigned.
func (w *witnessed) cosigners(cmd *cobra.Command) (keys []checkpoint.Cosigner, quorum int, err error) {
	for _, text := range w.keys {
		key, err := checkpoint.ParseCosigner(text)
		if err != nil {
			return nil, 0, usagef("--witness: %w", err)
		}
		keys = append(keys, key)
	}
	if err := checkpoint.DistinctCosigners(keys...); err != nil {
		return nil, 0, usagef("--witness: %w", err)
	}
	if !cmd.Flags().Changed("quorum") {
		return keys, len(keys), nil
	}
	if w.quorum < 1 || w.quorum > len(keys) {
		return nil, 0, usagef("--quorum is 1 to the number of --witness")
	}
	return keys, w.quorum, nil
}

// cosignature is one that was verified.
type cosignature struct {
	Witness string `json:"witness"`
	At      string `json:"at"` // as the witness says
}

// demand verifies the cosignatures of a checkpoint, and that they are enough.
func demand(note []byte, keys []checkpoint.Cosigner, quorum int) ([]cosignature, error) {
	found, err := checkpoint.Cosignatures(note, keys...)
	if err != nil {
		return nil, fmt.Errorf("the cosignatures are not verified: %w", err)
	}
	if len(found) < quorum {
		return nil, fmt.Errorf("too few witnesses have cosigned the checkpoint: %d of the %d that are asked for", len(found), quorum)
	}
	said := make([]cosignature, len(found))
	for i, c := range found {
		said[i] = cosignature{c.By.Name, c.At.Format("2006-01-02T15:04:05Z")}
	}
	return said, nil
}
