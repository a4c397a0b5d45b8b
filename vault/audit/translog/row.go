package translog

import (
	"encoding/binary"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit"
	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/store"
)

// The kinds of the log's rows; see the package comment.
const (
	kindStaged     = 's'
	kindTile       = 't'
	kindIDs        = 'i'
	kindPlace      = 'p'
	kindState      = 'S'
	kindHead       = 'H'
	kindSuccession = 'n'
	kindPruned     = 'P'
)

func (l *Log) key(kind byte, parts ...[]byte) []byte {
	return slices.Concat(append([][]byte{l.Prefix, {kind}}, parts...)...)
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func (l *Log) tileKey(level int, index int64) []byte {
	return l.key(kindTile, []byte{byte(level)}, number(index))
}

func (l *Log) idsKey(index int64) []byte    { return l.key(kindIDs, number(index)) }
func (l *Log) placeKey(id audit.ID) []byte  { return l.key(kindPlace, id[:]) }
func (l *Log) successionKey(n int64) []byte { return l.key(kindSuccession, number(n)) }
func stagedKey(prefix []byte, id audit.ID) []byte {
	return slices.Concat(prefix, []byte{kindStaged}, id[:])
}

// stateRow is the tree, and who signs for it.
type stateRow struct {
	Origin      string    `cbor:"1,keyasint"`
	Next        string    `cbor:"2,keyasint"` // the origin that it is to go on under; empty for this one
	Size        int64     `cbor:"3,keyasint"`
	Root        tlog.Hash `cbor:"4,keyasint"`
	Keys        []keyRow  `cbor:"5,keyasint"` // that sign; the last is the current one. Empty before anything was signed
	Successions int64     `cbor:"6,keyasint"` // how many there are
}

// keyRow is a key that signs.
type keyRow struct {
	Version int    `cbor:"1,keyasint"` // at the key provider
	Public  []byte `cbor:"2,keyasint"` // what that version was when it was first used
	Until   int64  `cbor:"3,keyasint"` // milliseconds since 1970: a key that was rotated signs until then; 0 is the current one
}

func (s *stateRow) tree() checkpoint.Tree {
	return checkpoint.Tree{Origin: s.Origin, Size: s.Size, Root: s.Root}
}

// current is the key that signs, of a state that has one.
func (s *stateRow) current() keyRow { return s.Keys[len(s.Keys)-1] }

// headRow is the last checkpoint.
type headRow struct {
	Origin string `cbor:"1,keyasint"`
	Size   int64  `cbor:"2,keyasint"`
	Note   []byte `cbor:"3,keyasint"`
	At     int64  `cbor:"4,keyasint"` // milliseconds since 1970
	Keys   int    `cbor:"5,keyasint"` // version of the newest key that signed
}

var (
	rowEncoding, errEncoding = cbor.CoreDetEncOptions().EncMode()
	rowDecoding, errDecoding = cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
)

func encodeRow(row any) ([]byte, error) {
	if errEncoding != nil {
		return nil, errEncoding
	}
	return rowEncoding.Marshal(row)
}

// getRow reads a row; nil when it is absent.
func getRow[T any](r store.Reader, key []byte) (*T, []byte, error) {
	values, err := r.Get(key)
	if err != nil || values[0] == nil {
		return nil, nil, err
	}
	row := new(T)
	if errDecoding != nil {
		return nil, nil, errDecoding
	}
	if err := rowDecoding.Unmarshal(values[0], row); err != nil {
		return nil, nil, damaged("a row does not decode")
	}
	return row, slices.Clone(values[0]), nil
}

func (l *Log) state(r store.Reader) (*stateRow, []byte, error) {
	return getRow[stateRow](r, l.key(kindState))
}

func (l *Log) head(r store.Reader) (*headRow, error) {
	row, _, err := getRow[headRow](r, l.key(kindHead))
	return row, err
}

// parseNumber reads what number writes.
func parseNumber(b []byte) (int64, error) {
	if len(b) != 8 {
		return 0, damaged("a number is not 8 bytes")
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}
