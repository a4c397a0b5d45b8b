package vaultserver

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
)

// Names below a server's home.
const (
	configName = "config.json"
	dataName   = "data"
	logName    = "server.log"
)

// settings is what options choose.
type settings struct {
	raft   bool
	node   string  // the name of a node of a cluster, where there are others
	secure *Secure // filled in by write; nil without TLS
}

// config is the server's configuration file, in the JSON form that every kind
// of server reads. It says nothing that only one of them knows.
type config struct {
	DisableMlock bool                        `json:"disable_mlock"`
	LogLevel     string                      `json:"log_level"`
	APIAddr      string                      `json:"api_addr"`
	ClusterAddr  string                      `json:"cluster_addr"`
	Storage      map[string]any              `json:"storage"`
	Listener     []map[string]listenerConfig `json:"listener"`
}

type listenerConfig struct {
	Address        string `json:"address"`
	ClusterAddress string `json:"cluster_address"`
	TLSDisable     bool   `json:"tls_disable"`
	CertFile       string `json:"tls_cert_file,omitzero"`
	KeyFile        string `json:"tls_key_file,omitzero"`
}

type fileStorage struct {
	Path string `json:"path"`
}

type raftStorage struct {
	Path   string `json:"path"`
	NodeID string `json:"node_id"`
	// PerformanceMultiplier scales raft's timeouts; 1, the least, elects a
	// lone node soonest.
	PerformanceMultiplier string `json:"performance_multiplier"`
}

// write puts the configuration for a server in home, on free ports, and
// returns the address it will listen on.
func (s settings) write(home string) (address string, err error) {
	addresses, err := freeAddresses(4)
	if err != nil {
		return "", err
	}
	address, cluster := addresses[0], addresses[1]
	data := filepath.Join(home, dataName)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", fmt.Errorf("make the server's storage: %w", err)
	}
	storage := map[string]any{"file": fileStorage{Path: data}}
	if s.raft {
		storage = map[string]any{"raft": raftStorage{Path: data, NodeID: "node" + s.node, PerformanceMultiplier: "1"}}
	}
	listeners := []map[string]listenerConfig{
		{"tcp": {Address: address, ClusterAddress: cluster, TLSDisable: true}},
	}
	if s.secure != nil {
		listener, err := s.secure.listener(home, addresses[2], addresses[3])
		if err != nil {
			return "", err
		}
		listeners = append(listeners, map[string]listenerConfig{"tcp": listener})
	}
	content, err := json.Marshal(config{
		DisableMlock: true,
		LogLevel:     "info",
		APIAddr:      "http://" + address,
		ClusterAddr:  "https://" + cluster,
		Storage:      storage,
		Listener:     listeners,
	})
	if err != nil {
		return "", fmt.Errorf("write the server's configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(home, configName), content, 0o600); err != nil {
		return "", fmt.Errorf("write the server's configuration: %w", err)
	}
	return address, nil
}

// freeAddresses returns n loopback addresses nobody listens on at this moment.
func freeAddresses(n int) ([]string, error) {
	addresses := make([]string, n)
	for i := range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = listener.Close() }() // held until all are found, so that they differ
		addresses[i] = listener.Addr().String()
	}
	return addresses, nil
}
