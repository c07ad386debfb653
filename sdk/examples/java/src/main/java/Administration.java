import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.networknt.schema.InputFormat;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * An administration's own system, with no SDK: reads its dossiers, checks each against the JSON Schema, acknowledges
 * and answers it, and only then commits its offset. Stopped at any point, the next start goes on with what was not
 * finished; what it repeats has the same id, and takes effect once.
 */
public class Administration {
    static final String DOSSIER = "ma.chikaya.dossier.forwarded.v1";
    static final ObjectMapper JSON = new ObjectMapper();
    static final String SLUG = System.getenv("CHIKAYA_ADMINISTRATION");

    public static void main(String[] args) throws Exception {
        String folder = System.getenv().getOrDefault("CHIKAYA_SCHEMAS", "../../../contracts/schemas/consumer");
        Schema schema;
        try (InputStream file = Files.newInputStream(Path.of(folder, DOSSIER + ".json"))) {
            schema = SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12).getSchema(file);
        }
        var consumer = new KafkaConsumer<>(settings(), new StringDeserializer(), new StringDeserializer());
        var producer = new KafkaProducer<>(settings(), new StringSerializer(), new StringSerializer());
        var main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException stopped) {
                Thread.currentThread().interrupt();
            }
        }));
        try (consumer; producer) {
            consumer.subscribe(List.of("administration." + SLUG + ".inbox.v1"));
            while (true) {
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    handle(record, schema, producer);
                    var partition = new TopicPartition(record.topic(), record.partition());
                    consumer.commitSync(Map.of(partition, new OffsetAndMetadata(record.offset() + 1)));
                }
            }
        } catch (WakeupException asked) {
            System.err.println("stopped");
        }
    }

    static void handle(ConsumerRecord<String, String> record, Schema schema, KafkaProducer<String, String> producer)
            throws Exception {
        if (!DOSSIER.equals(header(record, "ce_type"))) {
            return;
        }
        JsonNode dossier = parsed(record.value());
        if (dossier == null || !schema.validate(dossier).isEmpty()) {
            System.err.printf("passed over %s[%d]:%d, no dossier%n", record.topic(), record.partition(), record.offset());
            return;
        }
        String cause = header(record, "ce_id");
        String complaint = dossier.get("complaint_id").asText();
        String reference = dossier.get("reference").asText();
        var decided = List.of(
                decision(cause, complaint, "ma.chikaya.administration.acknowledged.v1", Map.of()),
                decision(cause, complaint, "ma.chikaya.administration.answered.v1",
                        Map.of("text", "Votre dossier " + reference + " est réglé.")));
        for (var sent : decided.stream().map(producer::send).toList()) {
            sent.get(); // every replica in sync has it
        }
        System.out.println("answered " + reference);
    }

    static ProducerRecord<String, String> decision(String cause, String complaint, String type, Map<String, String> more)
            throws IOException, GeneralSecurityException {
        var data = JSON.createObjectNode().put("complaint_id", complaint).put("administration", SLUG);
        more.forEach(data::put);
        String outbox = "administration." + SLUG + ".outbox.v1";
        var record = new ProducerRecord<>(outbox, complaint, JSON.writeValueAsString(data));
        Map.of(
                "ce_specversion", "1.0",
                "ce_id", consequenceId(cause, type),
                "ce_source", "/administration/" + SLUG,
                "ce_type", type,
                "ce_time", Instant.now().toString(),
                "ce_subject", complaint,
                "content-type", "application/json"
        ).forEach((name, text) -> record.headers().add(name, text.getBytes(StandardCharsets.UTF_8)));
        return record;
    }

    /** UUIDv5 (RFC 9562) in the OID namespace: the same cause gives the same id each time. */
    static String consequenceId(String cause, String type) throws GeneralSecurityException {
        var sha1 = MessageDigest.getInstance("SHA-1");
        var namespace = UUID.fromString("6ba7b812-9dad-11d1-80b4-00c04fd430c8");
        sha1.update(ByteBuffer.allocate(16).putLong(namespace.getMostSignificantBits())
                .putLong(namespace.getLeastSignificantBits()).flip());
        var hash = ByteBuffer.wrap(sha1.digest((cause + "\n" + type + "\n").getBytes(StandardCharsets.UTF_8)));
        long high = hash.getLong() & 0xffffffffffff0fffL | 0x5000L;
        long low = hash.getLong() & 0x3fffffffffffffffL | 0x8000000000000000L;
        return new UUID(high, low).toString();
    }

    static String header(ConsumerRecord<?, ?> record, String name) {
        Header header = record.headers().lastHeader(name);
        return header == null ? "" : new String(header.value(), StandardCharsets.UTF_8);
    }

    static JsonNode parsed(String value) {
        try {
            return value == null ? null : JSON.readTree(value);
        } catch (IOException unreadable) {
            return null;
        }
    }

    static Properties settings() {
        String user = System.getenv("CHIKAYA_KAFKA_USER");
        String login = "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"%s\" password=\"%s\";";
        var settings = new Properties();
        settings.put("bootstrap.servers", System.getenv("CHIKAYA_KAFKA_BOOTSTRAP"));
        settings.put("security.protocol", System.getenv().getOrDefault("CHIKAYA_KAFKA_SECURITY", "SASL_PLAINTEXT"));
        settings.put("sasl.mechanism", "SCRAM-SHA-512");
        settings.put("sasl.jaas.config", login.formatted(user, System.getenv("CHIKAYA_KAFKA_PASSWORD")));
        settings.put("client.id", user);
        settings.put("group.id", user + ".inbox");
        settings.put("session.timeout.ms", "6000");
        settings.put("heartbeat.interval.ms", "2000");
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        return settings; // the producer is idempotent, with acks=all, by default
    }
}
