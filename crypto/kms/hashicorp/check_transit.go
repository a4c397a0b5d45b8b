package hashicorp

import (
	"context"
)

// checkedKey is what a check asks of a Transit key, beyond what a set-up does.
type checkedKey struct {
	transitKey
	Imported   bool `json:"imported_key"`
	Rotates    int  `json:"auto_rotate_period"` // seconds
	MinDecrypt int  `json:"min_decryption_version"`
	MinEncrypt int  `json:"min_encryption_version"`
	Available  int  `json:"min_available_version"` // 0 when nothing was trimmed
}

func (k *check) transit(ctx context.Context) error {
	var config upsertConfig
	ok, err := k.look(ctx, k.names.upsert(), "transit.upsert", &config)
	if err != nil {
		return err
	}
	if ok && !config.Data.Disabled {
		k.find(k.names.upsert(), "transit.upsert", "disable_upsert is not set: an encrypt under a name that is not there makes a key")
	}
	for _, want := range k.names.transitKeys() {
		if err := k.transitKey(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

func (k *check) transitKey(ctx context.Context, want transitKeyAt) error {
	path := k.names.transitMount() + "/keys/" + want.name
	var answer struct {
		Data checkedKey `json:"data"`
	}
	if ok, err := k.look(ctx, path, "key.missing", &answer); !ok {
		return err
	}
	got := answer.Data
	for _, c := range []struct {
		broken bool
		rule   string
		found  string
	}{
		{got.Type != want.Type, "key.type", "is of another type than " + want.Type},
		{got.Exportable, "key.exportable", "may be exported, now and for ever: that cannot be taken back"},
		{got.Backup, "key.backup", "may be backed up in the clear, now and for ever: that cannot be taken back"},
		{got.Deletion, "key.deletion", "may be deleted, and every key with it"},
		{got.Derived, "key.derived", "is derived, which nothing here asks for"},
		{got.Imported, "key.imported", "was made elsewhere, where it may be known"},
		{got.Rotates != 0, "key.rotates", "rotates by itself (auto_rotate_period): versions come that nobody announced"},
		{got.MinDecrypt > 1 || got.MinEncrypt > 1, "key.versions", "has versions that are withheld: what they made is not served until min_decryption_version and min_encryption_version are set back"},
		{got.Available > 1, "key.trimmed", "has versions that were trimmed: what they made is lost, and no setting brings it back"},
	} {
		if c.broken {
			k.find(path, c.rule, "%s", c.found)
		}
	}
	return nil
}
