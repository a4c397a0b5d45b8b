package vaultserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// ServerName is the one name in the certificate of a TLS listener: its address is
// not in it.
const ServerName = "vault.test"

// Secure is where a server also listens with TLS. It asks clients for a
// certificate and takes any or none, as Vault does unless told otherwise.
type Secure struct {
	Address string // base URL, such as "https://127.0.0.1:41874"
	CAFile  string // PEM, the server's own certificate
}

// TLS has the server listen with TLS too: Server.Secure says where.
func TLS() Option {
	return func(s *settings) { s.secure = &Secure{} }
}

// listener makes the certificate and returns the listener's configuration.
func (s *Secure) listener(home, address, cluster string) (listenerConfig, error) {
	s.Address = "https://" + address
	s.CAFile = filepath.Join(home, "tls.crt")
	keyFile := filepath.Join(home, "tls.key")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return listenerConfig{}, fmt.Errorf("make the server's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: ServerName},
		DNSNames:              []string{ServerName},
		NotBefore:             time.Unix(0, 0),
		NotAfter:              time.Unix(1<<33, 0), // this server ends with its test
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return listenerConfig{}, fmt.Errorf("make the server's certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return listenerConfig{}, fmt.Errorf("make the server's key: %w", err)
	}
	err = errors.Join(
		os.WriteFile(s.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	return listenerConfig{Address: address, ClusterAddress: cluster, CertFile: s.CAFile, KeyFile: keyFile}, err
}
