// See Walker.h.
#define WALK_IMPLEMENTATION
#include "Walker.h"
#include "Misc/FileHelper.h"
#include "Misc/Paths.h"

// Unreal is left-handed, z up, in centimetres.
static FVector Place(const float at[3]) { return FVector(100 * at[0], 100 * at[2], 100 * at[1]); }
static FQuat Turn(const float q[4]) { return FQuat(-q[0], -q[2], -q[1], q[3]); }

AWalker::AWalker()
{
  PrimaryActorTick.bCanEverTick = true;
  RootComponent = Mesh = CreateDefaultSubobject<UPoseableMeshComponent>(TEXT("Mesh"));
}

void AWalker::BeginPlay()
{
  Super::BeginPlay();
  if (!FFileHelper::LoadFileToArray(Bytes, *(FPaths::ProjectContentDir() / TEXT("walk.bin"))) || walk_load(&Model, Bytes.GetData(), Bytes.Num()))
  {
    UE_LOG(LogTemp, Error, TEXT("walk.bin is missing, or is not the file that belongs to walk.h"));
    SetActorTickEnabled(false);
    return;
  }
  walk_begin(&Model, &One, GetUniqueID());
  Step();
  Step();
}

void AWalker::Tick(float Seconds)
{
  Super::Tick(Seconds);
  // The model has its own rate: between two of its frames, the picture is a mixture of both.
  for (Passed += Seconds * float(WALK_FPS); Passed >= 1; Passed -= 1) Step();
  for (int32 Joint = 0; Joint < WALK_JOINTS; ++Joint)
  {
    // Rotations are in the parents' axes, and so are these transforms.
    const int32 Bone = Mesh->GetBoneIndex(FName(walk_names[Joint]));
    if (!Mesh->BoneSpaceTransforms.IsValidIndex(Bone)) continue;
    FTransform &Pose = Mesh->BoneSpaceTransforms[Bone];
    Pose.SetRotation(FQuat::Slerp(Turn(Turns[0][Joint]), Turn(Turns[1][Joint]), Passed));
    if (walk_parents[Joint] < 0) Pose.SetTranslation(FMath::Lerp(Place(Places[0][Joint]), Place(Places[1][Joint]), Passed));
  }
  Mesh->MarkRefreshTransformDirty();
}

void AWalker::Step()
{
  const float Velocity[2] = { float(Wanted.X) / 100, float(Wanted.Y) / 100 };
  walk_toward(&Model, &One, 1, Velocity);
  FMemory::Memcpy(Places[0], Places[1], sizeof Places[0]);
  FMemory::Memcpy(Turns[0], Turns[1], sizeof Turns[0]);
  walk_joints(&One, Places[1]);
  walk_rotations(&One, Turns[1]);
}
