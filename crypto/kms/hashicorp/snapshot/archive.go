package snapshot

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// ErrDamaged: the archive is cut off or is not what HashiCorp Vault writes.
var ErrDamaged = errors.New("the snapshot is cut off or damaged")

// The archive is a gzipped tar of these. The last two are sums of the first two, in the form of sha256sum, once in the
// clear and once sealed by HashiCorp Vault's barrier key, which it does when all is written.
const (
	metaName   = "meta.json"
	stateName  = "state.bin"
	sumsName   = "SHA256SUMS"
	sealedName = "SHA256SUMS.sealed"
)

// maxSums bounds the two small files in bytes.
const maxSums = 64 << 10

// pass copies an archive to w, to its last byte, and checks it on the way. It returns how many bytes it was.
func pass(ctx context.Context, archive io.Reader, w io.Writer) (int64, error) {
	count := &counter{ctx: ctx, to: w}
	source := &source{from: archive}
	err := check(io.TeeReader(source, count))
	switch {
	case context.Cause(ctx) != nil:
		return 0, context.Cause(ctx)
	case count.failed != nil:
		return 0, fmt.Errorf("write: %w", count.failed)
	case source.failed != nil:
		return 0, fmt.Errorf("%w: %w", ErrDamaged, source.failed)
	case err != nil: // the text of gzip and tar says nothing more
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return count.bytes, nil
}

// counter counts what is written, and remembers what failed: check would call it a damaged archive.
type counter struct {
	ctx    context.Context //nolint:containedctx // of one call of pass
	to     io.Writer
	bytes  int64
	failed error
}

func (c *counter) Write(b []byte) (int, error) {
	if c.failed = context.Cause(c.ctx); c.failed != nil {
		return 0, c.failed
	}
	n, err := c.to.Write(b)
	c.bytes += int64(n)
	c.failed = err
	return n, err
}

// source remembers why reading failed.
type source struct {
	from   io.Reader
	failed error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.from.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// check reads an archive to the end of r and compares its sums.
func check(r io.Reader) error {
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	sums := map[string][sha256.Size]byte{}
	var listed []byte
	sealed := false
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch header.Name {
		case sumsName:
			listed, err = io.ReadAll(io.LimitReader(files, maxSums))
		case sealedName:
			sealed = header.Size > 0
		default:
			sums[header.Name], err = sumOf(files)
		}
		if err != nil {
			return err
		}
	}
	// The end of the tar is not that of the gzip, whose own sum comes last, nor of r.
	if _, err := io.Copy(io.Discard, unzipped); err != nil { //nolint:gosec // nothing is kept of it
		return err
	}
	if !sealed {
		return errors.New("its last file is missing")
	}
	return compare(sums, listed)
}

func sumOf(r io.Reader) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return sum, err
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// compare holds the sums of the two files that matter against the lines "<hexadecimal>  <name>".
func compare(sums map[string][sha256.Size]byte, listed []byte) error {
	lines := bytes.Split(listed, []byte("\n"))
	for _, name := range []string{metaName, stateName} {
		sum, there := sums[name]
		if !there || !containsLine(lines, fmt.Sprintf("%x  %s", sum, name)) {
			return fmt.Errorf("%s does not have the sum that the archive tells", name)
		}
	}
	return nil
}

func containsLine(lines [][]byte, line string) bool {
	for _, l := range lines {
		if string(l) == line {
			return true
		}
	}
	return false
}
