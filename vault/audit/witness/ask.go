package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sandyq/sandyq/vault/audit/checkpoint"
	"github.com/sandyq/sandyq/vault/audit/translog"
)

// failure is why a witness has not cosigned.
type failure struct {
	outcome Outcome
	err     error
	beyond  int64 // contradicts: the size that it says to have cosigned; 0 when its tree of that size is another
}

func (f *failure) Error() string { return f.err.Error() }

func failed(outcome Outcome, format string, args ...any) *failure {
	return &failure{outcome: outcome, err: fmt.Errorf(format, args...)}
}

// maxAsked is how often a witness may say in a row that it knows another size: of logs that several nodes submit, now and then once more.
const maxAsked = 4

// ask has a checkpoint cosigned by the witness of a seat.
func (s *seat) ask(ctx context.Context, sub translog.Submission) (checkpoint.Cosignature, *failure) {
	if s.origin != sub.Tree.Origin {
		s.origin, s.size = sub.Tree.Origin, 0
	}
	for range maxAsked {
		old := min(s.size, sub.Tree.Size) // where it knows of a larger one, it says so again, or no longer
		body, err := request(ctx, sub, old)
		if err != nil {
			return checkpoint.Cosignature{}, failed(Unreachable, "prove the log consistent: %w", err)
		}
		status, answer, err := s.post(ctx, body)
		switch {
		case err != nil:
			return checkpoint.Cosignature{}, failed(Unreachable, "no answer: %w", err)
		case status == http.StatusOK:
			c, fail := s.take(answer, sub.Tree)
			if fail == nil {
				s.size = sub.Tree.Size
			}
			return c, fail
		case status == http.StatusConflict:
			known, ok := parseSize(answer)
			switch {
			case !ok:
				return checkpoint.Cosignature{}, failed(Invalid, "it answered with status 409 and no size")
			case known > sub.Tree.Size:
				s.size = known
				return checkpoint.Cosignature{}, &failure{Contradicts, fmt.Errorf("it says that it has cosigned %d entries of %d", known, sub.Tree.Size), known}
			case known == old && old == sub.Tree.Size && old > 0:
				return checkpoint.Cosignature{}, contradicts(old)
			case known == old:
				return checkpoint.Cosignature{}, failed(Invalid, "it answered with status 409 and the size that it was given")
			}
			s.size = known
		case status == http.StatusUnprocessableEntity && old > 0:
			s.size = 0 // to be asked for its size again
			return checkpoint.Cosignature{}, contradicts(old)
		default:
			return checkpoint.Cosignature{}, failed(Refused, "it answered with status %d", status)
		}
	}
	return checkpoint.Cosignature{}, failed(Invalid, "it says another size each time")
}

// contradicts is the answer of a witness whose tree of a size that it cosigned is not ours.
func contradicts(size int64) *failure {
	return &failure{Contradicts, fmt.Errorf("it says that it has cosigned another tree of %d entries", size), 0}
}

// take verifies the cosignature in an answer.
func (s *seat) take(answer []byte, tree checkpoint.Tree) (checkpoint.Cosignature, *failure) {
	c, err := checkpoint.ParseCosignature(answer, tree, s.Key)
	if err != nil {
		return c, failed(Invalid, "its cosignature: %w", err)
	}
	if off := c.At.Sub(s.clock()).Abs(); off > Skew {
		return c, failed(Invalid, "its cosignature is of another time")
	}
	return c, nil
}

// request is the body of add-checkpoint, from the size that the witness is taken to know.
func request(ctx context.Context, sub translog.Submission, old int64) ([]byte, error) {
	var proof tlog.TreeProof
	if old > 0 && old < sub.Tree.Size {
		var err error
		if proof, err = sub.Prove(ctx, old); err != nil {
			return nil, err
		}
	}
	b := fmt.Appendf(nil, "old %d\n", old)
	for _, h := range proof {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return append(append(b, '\n'), sub.Note...), nil
}

// maxAnswer is the largest answer that is read, in bytes: some cosignatures of a witness's other keys among it.
const maxAnswer = 64 << 10

var errLarge = errors.New("the answer is too large")

func (s *seat) post(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("User-Agent", "sandyq")
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errLarge
	}
	return resp.StatusCode, answer, err
}

// parseSize reads the body of a 409: a size in decimal digits, and a line feed.
func parseSize(answer []byte) (int64, bool) {
	text, ok := bytes.CutSuffix(answer, []byte("\n"))
	n, err := strconv.ParseInt(string(text), 10, 64)
	return n, ok && err == nil && n >= 0 && strconv.FormatInt(n, 10) == string(text)
}
