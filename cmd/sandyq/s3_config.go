package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sandyq/sandyq/crypto/secret"
	"github.com/sandyq/sandyq/vault/bucket"
	"github.com/sandyq/sandyq/vault/ledger/s3"
)

// s3Config is a bucket of S3-compatible storage. The keys are those of bucket.Config, which says more.
type s3Config struct {
	Endpoint      string `yaml:"endpoint"` // https://HOST[:PORT]
	Bucket        string `yaml:"bucket"`   // made beforehand
	Region        string `yaml:"region"`
	Prefix        string `yaml:"prefix"` // of all keys
	PathStyle     bool   `yaml:"path_style"`
	CAFile        string `yaml:"ca_file"` // PEM; default: the system's
	AccessKeyFile string `yaml:"access_key_file"`
	SecretKeyFile string `yaml:"secret_key_file"`
}

// used reports whether anything is configured.
func (c s3Config) used() bool { return c != s3Config{} }

// check refuses what cannot work, in the section of this name. It looks at no file.
func (c s3Config) check(section string) error {
	for _, needed := range []struct{ key, value string }{
		{"endpoint", c.Endpoint}, {"bucket", c.Bucket}, {"region", c.Region},
		{"access_key_file", c.AccessKeyFile}, {"secret_key_file", c.SecretKeyFile},
	} {
		if needed.value == "" {
			return settingError{section + "." + needed.key, "is required"}
		}
	}
	if err := bucket.CheckEndpoint(c.Endpoint); err != nil {
		return settingError{section + ".endpoint", err.Error()}
	}
	if err := bucket.CheckPrefix(c.Prefix); err != nil {
		return settingError{section + ".prefix", err.Error()}
	}
	return nil
}

// paths are the settings that name files.
func (c *s3Config) paths() []*string {
	return []*string{&c.CAFile, &c.AccessKeyFile, &c.SecretKeyFile}
}

// secretFiles are the files that hold secrets.
func (c s3Config) secretFiles() []string { return []string{c.AccessKeyFile, c.SecretKeyFile} }

// open reads the credentials.
func (c s3Config) open() (bucket.Config, error) {
	access, err := readKey(c.AccessKeyFile)
	if err != nil {
		return bucket.Config{}, fmt.Errorf("access_key_file: %w", err)
	}
	key, err := readKey(c.SecretKeyFile)
	if err != nil {
		return bucket.Config{}, fmt.Errorf("secret_key_file: %w", err)
	}
	return bucket.Config{
		Endpoint: c.Endpoint, Bucket: c.Bucket, Region: c.Region, Prefix: c.Prefix, PathStyle: c.PathStyle, CAFile: c.CAFile,
		AccessKey: access, SecretKey: key,
	}, nil
}

// connect makes a client of the bucket. Whoever gets it closes it.
func (c s3Config) connect() (*bucket.Bucket, error) {
	in, err := c.open()
	if err != nil {
		return nil, err
	}
	return bucket.New(in)
}

// readKey reads the one line of a file.
func readKey(path string) (secret.String, error) {
	b, err := readSecretFile(path)
	if err != nil {
		return secret.String{}, err
	}
	line, rest, _ := bytes.Cut(bytes.TrimRight(b, "\r\n"), []byte("\n"))
	if len(line) == 0 || len(rest) > 0 {
		return secret.String{}, errors.New("holds one line")
	}
	return secret.NewString(string(line)), nil
}

// ledgerS3Config is a bucket for the erasure ledger.
type ledgerS3Config struct {
	s3Config `yaml:",inline"`
	// ObjectLock says that the bucket keeps what is put there, without which it is no place for a ledger.
	ObjectLock bool `yaml:"object_lock"`
	// Retain is for how long a line cannot be removed by anybody; 0 leaves it to the bucket's own rule.
	Retain time.Duration `yaml:"retain"`
}

const defaultRetain = 10 * 365 * 24 * time.Hour

func defaultLedgerS3() ledgerS3Config { return ledgerS3Config{ObjectLock: true, Retain: defaultRetain} }

func (c ledgerConfig) check() error {
	switch {
	case !c.S3.used() && c.S3 != defaultLedgerS3():
		return settingError{"ledger.s3.bucket", "is required"}
	case !c.S3.used():
		return nil
	case c.Path != "":
		return settingError{"ledger", "has both path and s3; the ledger lies in one of them"}
	case !c.S3.ObjectLock:
		return settingError{"ledger.s3.object_lock", "is true: a bucket that lets its objects be removed is no place for the ledger"}
	case c.S3.Retain < 0:
		return settingError{"ledger.s3.retain", "is a duration, such as 87600h for ten years, or 0s for the bucket's own rule"}
	}
	return c.S3.check("ledger.s3")
}

// checkBuckets refuses documents and a ledger in one place, as whoever may remove the ones could remove the other, and copies of the
// anchor where the anchor lies.
func (c config) checkBuckets() error {
	b, l := c.Blobs.S3, c.Ledger.S3
	if a := c.Audit.Anchor.S3; a.used() && a.sameBucket(l.s3Config) {
		return settingError{"audit.anchor.s3", "is where the ledger and its anchor lie; name another place for copies of it"}
	}
	if !b.used() || !l.used() || b.Endpoint != l.Endpoint || b.Bucket != l.Bucket {
		return nil
	}
	if strings.HasPrefix(b.Prefix, l.Prefix) || strings.HasPrefix(l.Prefix, b.Prefix) {
		return settingError{"ledger.s3.prefix", "overlaps with blobs.s3.prefix; best is a bucket of its own"}
	}
	return nil
}

// open reads the credentials.
func (c ledgerS3Config) open() (s3.Config, error) {
	b, err := c.s3Config.open()
	if err != nil {
		return s3.Config{}, fmt.Errorf("ledger.s3.%w", err)
	}
	return s3.Config{Config: b, Retain: c.Retain}, nil
}
