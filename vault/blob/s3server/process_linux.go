package s3server

import "syscall"

// dieWithParent has the system kill the server when the test binary ends, however that ends.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
