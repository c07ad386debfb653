// An administration's own system, with no SDK: reads its dossiers, checks each against the JSON Schema, acknowledges
// and answers it, and only then commits its offset. Stopped at any point, the next start goes on with what was not
// finished; what it repeats has the same id, and takes effect once.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const dossierType = "ma.chikaya.dossier.forwarded.v1"

var slug = os.Getenv("CHIKAYA_ADMINISTRATION")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	schemas := os.Getenv("CHIKAYA_SCHEMAS")
	if schemas == "" {
		schemas = "../../../contracts/schemas/consumer"
	}
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(schemas, dossierType+".json"))
	if err != nil {
		log.Fatal(err)
	}
	user, password := os.Getenv("CHIKAYA_KAFKA_USER"), os.Getenv("CHIKAYA_KAFKA_PASSWORD")
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(os.Getenv("CHIKAYA_KAFKA_BOOTSTRAP"), ",")...),
		kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()),
		kgo.ConsumerGroup(user + ".inbox"),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(2 * time.Second),
		kgo.ConsumeTopics("administration." + slug + ".inbox.v1"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ProducerBatchCompression(kgo.GzipCompression()), // snappy, the default, needs a library at every reader
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // a partition is not given away while its records are in hand
	}
	if os.Getenv("CHIKAYA_KAFKA_SECURITY") == "SASL_SSL" {
		options = append(options, kgo.DialTLSConfig(new(tls.Config)))
	}
	client, err := kgo.NewClient(options...) // franz-go produces idempotently, with acks=all, by default
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetched := client.PollRecords(ctx, 100)
		if err := fetched.Err(); err != nil && ctx.Err() == nil {
			log.Fatal(err)
		}
		for _, record := range fetched.Records() {
			if err := handle(ctx, client, schema, record); err != nil {
				log.Fatal(err) // not committed: the next start begins here
			}
			if err := client.CommitRecords(ctx, record); err != nil {
				log.Fatal(err)
			}
		}
		client.AllowRebalance()
	}
}

func handle(ctx context.Context, client *kgo.Client, schema *jsonschema.Schema, record *kgo.Record) error {
	if header(record, "ce_type") != dossierType {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(record.Value))
	if err != nil || schema.Validate(value) != nil {
		log.Printf("passed over %s[%d]:%d, no dossier", record.Topic, record.Partition, record.Offset)
		return nil
	}
	var dossier struct {
		Complaint string `json:"complaint_id"`
		Reference string `json:"reference"`
	}
	if err := json.Unmarshal(record.Value, &dossier); err != nil {
		return err
	}
	complaint, cause := dossier.Complaint, header(record, "ce_id")
	text := "Votre dossier " + dossier.Reference + " est réglé."
	acknowledge := decision(cause, complaint, "ma.chikaya.administration.acknowledged.v1", map[string]string{})
	answer := decision(cause, complaint, "ma.chikaya.administration.answered.v1", map[string]string{"text": text})
	if err := client.ProduceSync(ctx, acknowledge, answer).FirstErr(); err != nil {
		return err
	}
	fmt.Println("answered", dossier.Reference)
	return nil
}

// decision has an id made from its cause (UUIDv5, OID namespace): the same cause gives the same id each time.
func decision(cause, complaint, kind string, data map[string]string) *kgo.Record {
	data["complaint_id"], data["administration"] = complaint, slug
	value, _ := json.Marshal(data) // a map of strings always has a JSON form
	attributes := map[string]string{
		"ce_specversion": "1.0",
		"ce_id":          uuid.NewSHA1(uuid.NameSpaceOID, []byte(cause+"\n"+kind+"\n")).String(),
		"ce_source":      "/administration/" + slug,
		"ce_type":        kind,
		"ce_time":        time.Now().UTC().Format(time.RFC3339Nano),
		"ce_subject":     complaint,
		"content-type":   "application/json",
	}
	record := &kgo.Record{Topic: "administration." + slug + ".outbox.v1", Key: []byte(complaint), Value: value}
	for name, text := range attributes {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: name, Value: []byte(text)})
	}
	return record
}

func header(record *kgo.Record, name string) string {
	for _, one := range record.Headers {
		if one.Key == name {
			return string(one.Value)
		}
	}
	return ""
}
