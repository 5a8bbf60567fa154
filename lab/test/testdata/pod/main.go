// Pod is what the lab's tests run in a pod: it asks the API server with the pod's
// own token, says what came of it, and counts.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

func main() {
	fmt.Println("api:", ask("/version"))
	for n := 0; ; n++ {
		fmt.Println("count:", n)
		time.Sleep(100 * time.Millisecond)
	}
}

func ask(path string) string {
	ca, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return err.Error()
	}
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return err.Error()
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	server := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	req, err := http.NewRequest(http.MethodGet, "https://"+server+path, nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return resp.Status
}
