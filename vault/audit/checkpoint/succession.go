package checkpoint

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// successionHeader begins the text of a succession. It has spaces, so that no origin of ours is like it and no succession
// can pass for a checkpoint.
const successionHeader = "sandyq log succession v1"

// ErrForked reports successions of which one key names two successors, or the later tree is the smaller.
var ErrForked = errors.New("checkpoint: the successions contradict each other")

// Succession is the signed word of a log's key that the log goes on under another: under the same origin (the key was
// rotated), or under a new one (the store was restored or promoted, and what the old origin signed beyond Size may be lost).
//
// Its text is five lines: the header "sandyq log succession v1", the old key, the new key (each as [Key.String] writes it),
// and the size and the root of the tree, in decimal digits and in base64. It is signed by the old key.
type Succession struct {
	From, To Key
	Size     int64     // the tree that both share
	Root     tlog.Hash // at Size
}

// Marshal writes the text, which the old key is to sign.
func (s Succession) Marshal() (string, error) {
	if !s.From.valid() || !s.To.valid() || s.From.Equal(s.To) || s.Size < 0 {
		return "", malformed("a succession leads from one key to another")
	}
	return fmt.Sprintf("%s\n%s\n%s\n%d\n%s\n", successionHeader, s.From, s.To, s.Size, encodeHash(s.Root)), nil
}

// SignSuccession makes the signed note of a succession. The signer's is the old key.
func SignSuccession(ctx context.Context, s Succession, by Signer) ([]byte, error) {
	text, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	if !by.Key().Equal(s.From) {
		return nil, malformed("a succession is signed by the key that it leads from")
	}
	return Sign(ctx, text, by)
}

// ParseSuccession reads the text of a succession.
func ParseSuccession(text string) (Succession, error) {
	lines, ok := cutLines(text)
	if !ok || len(lines) != 5 || lines[0] != successionHeader {
		return Succession{}, malformed("the text of a succession is five lines after " + successionHeader)
	}
	var s Succession
	var err error
	if s.From, err = ParseKey(lines[1]); err != nil {
		return Succession{}, err
	}
	if s.To, err = ParseKey(lines[2]); err != nil {
		return Succession{}, err
	}
	if s.From.Equal(s.To) {
		return Succession{}, malformed("a succession leads from one key to another")
	}
	if s.Size, err = parseNumber(lines[3]); err != nil {
		return Succession{}, err
	}
	s.Root, err = parseHash(lines[4])
	return s, err
}

// OpenSuccession verifies a succession by the key that it says it comes from, and reads it. Whether that key is to be
// believed is for [Follow] to find out.
func OpenSuccession(msg []byte) (Succession, error) {
	text, _, err := splitNote(msg)
	if err != nil {
		return Succession{}, err
	}
	s, err := ParseSuccession(text)
	if err != nil {
		return Succession{}, err
	}
	_, _, err = Open(msg, s.From)
	return s, err
}

// Follow returns every key that a log has had since held, held first and today's last: the notes are all the log's
// successions in order. Those before held's own are not needed, and prove nothing to who holds held. It fails with
// [ErrFormat], [ErrUnverified], or [ErrForked] when the notes do not make one chain.
func Follow(held Key, notes ...[]byte) ([]Key, error) {
	chain := []Key{held}
	if len(notes) == 0 {
		return chain, nil
	}
	known := false // held is in it
	var last Succession
	for i, msg := range notes {
		s, err := OpenSuccession(msg)
		if err != nil {
			return nil, fmt.Errorf("succession %d: %w", i+1, err)
		}
		if i > 0 && (!s.From.Equal(last.To) || s.Size < last.Size && s.From.Name == s.To.Name) {
			return nil, fmt.Errorf("succession %d: %w", i+1, ErrForked)
		}
		last = s
		if known = known || s.From.Equal(held); known {
			chain = append(chain, s.To)
		}
		for _, before := range chain[:len(chain)-1] {
			if before.Equal(s.To) {
				return nil, fmt.Errorf("succession %d: %w", i+1, ErrForked)
			}
		}
	}
	if !known && !last.To.Equal(held) {
		return nil, fmt.Errorf("%w: no succession comes from the key that is held", ErrUnverified)
	}
	return chain, nil
}
