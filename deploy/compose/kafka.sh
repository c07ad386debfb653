#!/bin/bash
# Starts Kafka (KRaft, one node) with SCRAM users and ACLs, denying by default; storage is formatted once.
# CLIENT is for the network inside, HOST for clients on the machine itself.
set -euo pipefail
umask 077
config=/tmp/server.properties
scram=org.apache.kafka.common.security.scram.ScramLoginModule
plain=org.apache.kafka.common.security.plain.PlainLoginModule
login="username=\"broker\" password=\"$KAFKA_BROKER_PASSWORD\""
cat > $config <<EOF
node.id=1
process.roles=broker,controller
log.dirs=/var/lib/kafka/data
listeners=CLIENT://0.0.0.0:9092,HOST://0.0.0.0:19092,CONTROLLER://127.0.0.1:9093
advertised.listeners=CLIENT://kafka:9092,HOST://127.0.0.1:9092
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,HOST:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:9093
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.client.scram-sha-512.sasl.jaas.config=$scram required $login;
listener.name.host.scram-sha-512.sasl.jaas.config=$scram required;
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=$plain required $login user_broker="$KAFKA_BROKER_PASSWORD";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:admin;User:broker
auto.create.topics.enable=false
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
offsets.retention.minutes=172800
log.retention.hours=168
log.retention.bytes=1073741824
log.segment.bytes=67108864
group.initial.rebalance.delay.ms=0
EOF
# To the container's output alone, and no log of garbage collection: nothing grows on a file system in memory.
cat > /tmp/log4j2.properties <<EOF
status=error
rootLogger.level=warn
rootLogger.appenderRef.console.ref=Console
appender.console.type=Console
appender.console.name=Console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c{1})%n%throwable
EOF
export LOG_DIR=/tmp EXTRA_ARGS="-name kafkaServer" KAFKA_LOG4J_OPTS=-Dlog4j2.configurationFile=/tmp/log4j2.properties
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted -t MkU3OEVBNTcwNTJENDM2Qg -c $config \
  --add-scram "SCRAM-SHA-512=[name=admin,password=$KAFKA_ADMIN_PASSWORD]" \
  --add-scram "SCRAM-SHA-512=[name=broker,password=$KAFKA_BROKER_PASSWORD]"
exec /opt/kafka/bin/kafka-server-start.sh $config
