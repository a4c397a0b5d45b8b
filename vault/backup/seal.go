package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
)

func parseRecipient(text string) (age.Recipient, error) {
	all, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(all) != 1 || strings.ContainsAny(text, " #\t\r\n") { // age would pass over what is around it
		return nil, errors.New("not one recipient")
	}
	return all[0], nil
}

// digestOf tells sets of recipients apart and names none.
func digestOf(recipients []string) string {
	all := slices.Sorted(slices.Values(recipients))
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(all), "\n")))
	return hex.EncodeToString(sum[:])
}

// ParseIdentities reads the identities of an age identity file (AGE-SECRET-KEY-1…).
func ParseIdentities(file io.Reader) (Identities, error) {
	all, err := age.ParseIdentities(file)
	if err != nil {
		return nil, errors.New("not an age identity file") // err may repeat a line of it
	}
	return all, nil
}

// Generate draws a new identity, and its recipient, as the text of the two files.
func Generate() (identity, recipient string, err error) {
	made, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", err
	}
	return made.String(), made.Recipient().String(), nil
}

// seal encrypts what is small.
func seal(plain []byte, to Recipients) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, to...)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealed.Bytes(), nil
}

// open decrypts. The error is ErrIdentity, or one of a file that is damaged.
func open(sealed io.Reader, by Identities) (io.Reader, error) {
	r, err := age.Decrypt(sealed, by...)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		return nil, ErrIdentity
	}
	if err != nil {
		return nil, damaged("it does not decrypt")
	}
	return r, nil
}
