package authn

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	maxRevoked  = 32 << 20    // bytes of a list
	reviewAfter = time.Second // between attempts at a list that cannot be read
)

// revocation is a list of what is revoked, in a file that is read again when it changes. A list that cannot be read, or is
// out of date, refuses everybody it is about: better nobody than somebody who was shut out. A file is best replaced as a
// whole, by a rename.
type revocation struct {
	path string
	now  func() time.Time
	log  *slog.Logger

	mu      sync.Mutex // guards what follows
	stamp   stamp      // of the file that was read
	list    *revoked   // nil when it cannot be read
	trouble error      // why not
	read    time.Time  // when that was found
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

// check refuses chains with a certificate that is revoked. A nil revocation revokes nothing.
func (r *revocation) check(chains [][]*x509.Certificate) error {
	if r == nil {
		return nil
	}
	list, err := r.current()
	if err != nil {
		return err
	}
	for _, chain := range chains {
		if err := list.check(chain, r.now()); err != nil {
			return err
		}
	}
	return nil
}

// current is the list in the file as it is now.
func (r *revocation) current() (*revoked, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	if err != nil {
		return nil, r.unreadable(err)
	}
	now := r.now()
	is := stamp{info.ModTime(), info.Size()}
	same := is == r.stamp
	if same && r.list != nil {
		return r.list, nil
	}
	if same && r.trouble != nil && now.Sub(r.read) < reviewAfter {
		return nil, r.trouble
	}
	list, err := readRevoked(r.path)
	r.stamp, r.read = is, now
	if err != nil {
		return nil, r.unreadable(err)
	}
	if r.trouble != nil {
		r.log.Info("the list of revoked certificates can be read again")
	}
	r.list, r.trouble = list, nil
	return list, nil
}

// unreadable notes why there is no list, and tells the log when that is news. mu is held.
func (r *revocation) unreadable(err error) error {
	trouble := fmt.Errorf("authn: certificate: the list of revoked ones cannot be used: %w", err)
	if r.trouble == nil || r.trouble.Error() != trouble.Error() {
		r.log.Error("every client certificate is refused: the list of revoked ones cannot be used", "error", err)
	}
	r.list, r.trouble = nil, trouble
	return trouble
}

// revoked is what a list says.
type revoked struct {
	fingerprints map[[sha256.Size]byte]bool
	serials      map[string]bool // whoever issued them, as big.Int's bytes
	lists        []*signedList   // revocation lists of authorities; with any, every client's authority must have one
}

// signedList is a revocation list of an authority (RFC 5280, 5).
type signedList struct {
	*x509.RevocationList
	serials map[string]bool

	mu       sync.Mutex                 // guards verified
	verified map[[sha256.Size]byte]bool // whether it is signed by the authority with this certificate
}

func readRevoked(path string) (*revoked, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, maxRevoked+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxRevoked {
		return nil, fmt.Errorf("it is larger than %d MiB", maxRevoked>>20)
	}
	return parseRevoked(b)
}

// parseRevoked reads a list in whichever of its forms.
func parseRevoked(b []byte) (*revoked, error) {
	const derSequence = 0x30 // and '0', which no DER of more than 127 bytes follows with a digit
	switch {
	case bytes.Contains(b, []byte("-----BEGIN ")):
		return parsePEMLists(b)
	case len(b) > 1 && b[0] == derSequence && b[1]&0x80 != 0:
		list, err := parseSigned(b)
		if err != nil {
			return nil, err
		}
		return &revoked{lists: []*signedList{list}}, nil
	default:
		return parseLines(string(b))
	}
}

func parsePEMLists(b []byte) (*revoked, error) {
	all := &revoked{}
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			return nil, errors.New("it holds PEM that is no X509 CRL")
		}
		list, err := parseSigned(block.Bytes)
		if err != nil {
			return nil, err
		}
		all.lists, b = append(all.lists, list), rest
	}
	if len(all.lists) == 0 || bytes.Contains(b, []byte("-----")) {
		return nil, errors.New("it holds PEM that does not decode")
	}
	return all, nil
}

// understood are the extensions that may be critical in a list: none that make it one of a part of the certificates, or of
// other issuers' (RFC 5280, 5.2).
var understood = []asn1.ObjectIdentifier{{2, 5, 29, 20}, {2, 5, 29, 35}} // CRL number, authority key identifier

func parseSigned(der []byte) (*signedList, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("parse a revocation list: %w", err)
	}
	for _, e := range list.Extensions {
		known := false
		for _, id := range understood {
			known = known || e.Id.Equal(id)
		}
		if e.Critical && !known {
			return nil, fmt.Errorf("a revocation list has a critical extension that is not understood: %v", e.Id)
		}
	}
	made := &signedList{RevocationList: list, serials: map[string]bool{}, verified: map[[sha256.Size]byte]bool{}}
	for _, entry := range list.RevokedCertificateEntries {
		made.serials[string(entry.SerialNumber.Bytes())] = true
	}
	return made, nil
}

// parseLines reads fingerprints (64 hexadecimal digits) and serial numbers (up to 40), in any case, colons anywhere, one a
// line; # begins a comment.
func parseLines(text string) (*revoked, error) {
	all := &revoked{fingerprints: map[[sha256.Size]byte]bool{}, serials: map[string]bool{}}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		digits := strings.ReplaceAll(strings.TrimSpace(line), ":", "")
		if digits == "" {
			continue
		}
		if len(digits)%2 == 1 {
			digits = "0" + digits
		}
		b, err := hex.DecodeString(digits)
		switch {
		case err != nil || len(b) > 20 && len(b) != sha256.Size:
			return nil, fmt.Errorf("line %d is neither a serial number nor a SHA-256 fingerprint in hexadecimal", number)
		case len(b) == sha256.Size:
			all.fingerprints[[sha256.Size]byte(b)] = true
		default:
			all.serials[string(new(big.Int).SetBytes(b).Bytes())] = true
		}
	}
	return all, nil
}

// check refuses a chain, of which each is signed by the next, with anything that is revoked.
func (all *revoked) check(chain []*x509.Certificate, now time.Time) error {
	for i, c := range chain {
		serial := string(c.SerialNumber.Bytes())
		if all.serials[serial] || all.fingerprints[sha256.Sum256(c.Raw)] {
			return errCertificate("is revoked")
		}
		if len(all.lists) == 0 || i == len(chain)-1 && i > 0 {
			continue // whoever revokes a root takes it out of the bundle, or lists its fingerprint
		}
		covered, err := all.byAuthority(c, chain[min(i+1, len(chain)-1)], serial, now)
		if err != nil {
			return err
		}
		if i == 0 && !covered {
			return errCertificate("its authority has no revocation list")
		}
	}
	return nil
}

// byAuthority refuses a certificate that its authority has revoked, and reports whether the authority has a list.
func (all *revoked) byAuthority(c, authority *x509.Certificate, serial string, now time.Time) (covered bool, err error) {
	for _, list := range all.lists {
		if !bytes.Equal(list.RawIssuer, c.RawIssuer) || !list.signedBy(authority) {
			continue
		}
		switch {
		case !now.Before(list.NextUpdate): // the zero time, too: a list says when it ends
			return true, errCertificate("the revocation list of its authority is out of date")
		case list.serials[serial]:
			return true, errCertificate("is revoked")
		}
		covered = true
	}
	return covered, nil
}

func (l *signedList) signedBy(authority *x509.Certificate) bool {
	sum := sha256.Sum256(authority.Raw)
	l.mu.Lock()
	defer l.mu.Unlock()
	good, known := l.verified[sum]
	if !known {
		good = l.CheckSignatureFrom(authority) == nil
		l.verified[sum] = good
	}
	return good
}
